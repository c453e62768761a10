"""How much work an image gets, and what it is spent on."""

from dataclasses import dataclass

from kdlens.errors import ConfigError

FEWEST_PROBES = 8


@dataclass(frozen=True)
class Budget:
    """How much work an image gets.

    Attributes:
        probes: backward passes. Half of them follow the draws' directions and half are random, or few follow draws and
            the others are signs that know of places.
        memory: bytes for the vectors of an image. Where the feature is too large for that, all probes are random, of
            one byte a number.
    """

    probes: int = 128
    memory: float = 2.0**30

    def __post_init__(self) -> None:
        if self.probes < FEWEST_PROBES:
            raise ConfigError(f"probes must be {FEWEST_PROBES} or more, got {self.probes}")
        if not self.memory > 0:
            raise ConfigError(f"memory must be positive, got {self.memory}")

    def allows_basis(self, units: int) -> bool:
        """Whether draws, basis, signs and their joint table fit into the memory."""
        return 3.5 * 4 * self.probes * units <= self.memory

    @property
    def draws(self) -> int:
        """Noisy inputs that are only run forward."""
        return max(8, self.probes // 2)

    @property
    def directions(self) -> int:
        """Directions where other probes are signs that know of places."""
        return min(16, max(4, self.probes // 8))

    @property
    def first(self) -> int:
        """Draws after which it is decided what the probes shall be."""
        return max(2 * self.directions, self.few)

    @property
    def few(self) -> int:
        """Draws repeated at other noise sizes."""
        return max(4, self.probes // 16)

    @property
    def points(self) -> int:
        """Noisy inputs at which derivatives are taken."""
        return max(8, self.probes // 8)
