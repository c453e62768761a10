"""Self-distillation: the teacher is an earlier network of the student's own architecture.

Born-again networks (Furlanello et al., ICML 2018): generation 0 learns from the labels, every next one starts anew and
learns from the labels and from the generation before. `kdlens.training.generations` trains them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from kdlens.training.losses.base import UNRECORDED, check_option
from kdlens.training.losses.kd import KD


@dataclass(eq=False, repr=False)
class SelfDistillation(KD):
    """Soft targets from a network of the same architecture; without softening, as published.

    Attributes:
        temperature: how much both outputs are softened.
        alpha: weight of the earlier generation, in [0, 1].
        generations: how many generations are trained after generation 0.
        rebuild: makes the same architecture with other first weights, from the number of the generation; without it
            all generations start from the weights the student is given with.

    Example:
        >>> SelfDistillation(generations=2).options
        {'temperature': 1.0, 'alpha': 0.5, 'generations': 2}
    """

    name: ClassVar[str] = "self-distillation"
    temperature: float = 1.0
    alpha: float = 0.5
    generations: int = 1
    rebuild: Callable[[int], nn.Module] | None = field(default=None, metadata=UNRECORDED)

    def check(self) -> None:
        """Refuse less than one generation."""
        super().check()
        check_option(self.generations >= 1, "generations", "must be at least 1", self.generations)
