"""How a training runs: every choice resolved and written out, so that it can be compared, stored and repeated."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from kdlens.errors import ConfigError

RecordEpochs = Literal["none", "all", "log"] | Sequence[int]
"""After which epochs the student is kept: none, all, roughly geometric distances, or a list."""


@dataclass(frozen=True)
class Settings:
    """A training's settings.

    Attributes:
        epochs: passes over the data.
        batch_size: images an update, over all processes together.
        optimizer: name and options.
        schedule: name and options.
        augment: name of the augmentation.
        precision: `no`, `bf16` or `fp16`.
        clip: largest gradient norm, or None.
        seed: seed of order, augmentation, dropout and the method's own parameters.
        record_epochs: the student is kept after these epochs.
        cache_teacher: whether the teacher's outputs are computed once and remembered.
        channels_last: memory layout of the images.
        save_every: also store the state every so many updates; None: after every epoch only.
        workers: processes that read images ahead.
        attention: options of the training of the student's attention; None for students without.
    """

    epochs: int
    batch_size: int
    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    augment: str = "none"
    precision: str = "no"
    clip: float | None = None
    seed: int = 0
    record_epochs: tuple[int, ...] = ()
    cache_teacher: bool = False
    channels_last: bool | Literal["auto"] = "auto"
    save_every: int | None = None
    workers: int = 0
    attention: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "save_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}")
        if self.clip is not None and self.clip <= 0:
            raise ConfigError(f"clip must be positive, not {self.clip}")
        if self.cache_teacher and self.augment != "none":
            raise ConfigError(
                f'cache_teacher remembers what the teacher says about an image as it is, but augment="{self.augment}" '
                "changes images anew every time; use one or the other"
            )

    def to_dict(self) -> dict[str, Any]:
        """All that decides the result; how often and how fast things are stored or read is left out."""
        content = asdict(self)
        for name in ("save_every", "workers"):
            del content[name]
        return content


def epochs_to_record(choice: RecordEpochs, epochs: int) -> tuple[int, ...]:
    """Return after which epochs the student is kept, counted from 1; 0 is the start.

    Raises:
        ConfigError: an unknown word, or an epoch outside the training.

    Example:
        >>> epochs_to_record("log", 30)
        (1, 2, 3, 4, 6, 8, 11, 16, 23, 30)
    """
    if isinstance(choice, str):
        if choice not in ("none", "all", "log"):
            raise ConfigError(f'record_epochs is "none", "all", "log" or a list of epochs, not "{choice}"')
        if choice == "none":
            return ()
        return tuple(range(1, epochs + 1)) if choice == "all" else _geometric(epochs)
    chosen = tuple(sorted({int(epoch) for epoch in choice}))
    if chosen and not 0 <= chosen[0] <= chosen[-1] <= epochs:
        raise ConfigError(f"record_epochs must lie between 0 and {epochs}, not {list(chosen)}")
    return chosen


def _geometric(epochs: int) -> tuple[int, ...]:
    """Powers of the square root of 2, rounded, and the last epoch."""
    powers = {round(2 ** (k / 2)) for k in range(2 * epochs.bit_length() + 1)}
    return tuple(sorted({1, epochs, *(epoch for epoch in powers if epoch <= epochs)}))
