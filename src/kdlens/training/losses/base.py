"""What a distillation method is: a small module that turns one batch's outputs into named, weighted terms.

The terms add up to the training loss. A method is a dataclass whose fields are its options, so that they can be listed,
checked and written down; what it learns itself (a regressor, say) are ordinary parameters, trained and saved with the
student.

Rules that every method obeys and the contract tests check: a distillation term is smallest, and its gradient zero,
where student and teacher agree (`Loss.agreeing` tells which logits these are); terms are means over images, so that
neither the batch size nor the number of classes hides in them; no gradient reaches the teacher.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.errors import ConfigError, ModelError, did_you_mean
from kdlens.models.upstream import Upstream

UNRECORDED = {"recorded": False}
"""Metadata of an option that cannot be written down, such as a function."""


@dataclass(frozen=True)
class Layers:
    """The layers a method reads, by dotted name, in pairs: the i-th of the student with the i-th of the teacher."""

    student: tuple[str, ...] = ()
    teacher: tuple[str, ...] = ()


@dataclass(frozen=True)
class Phase:
    """A stretch of a training.

    Attributes:
        epochs: how long.
        lr: its learning rate; None: the optimiser's.
        frozen: what of the student does not learn in it; modules named there stay in eval mode.
    """

    epochs: int
    lr: float | None = None
    frozen: Upstream = field(default_factory=Upstream)


@dataclass(frozen=True)
class Inputs:
    """One batch as a method sees it.

    Attributes:
        labels: `(n,)` class indices.
        student_logits: `(n, K)`.
        teacher_logits: `(n, K)` without gradient; `None` where there is no teacher.
        student_features: what the student's layers gave, in the order of `Layers.student`.
        teacher_features: likewise for the teacher, without gradient.
        images: `(n, C, H, W)` as both networks took them; `None` in a bare test.
        epoch: epochs finished before this one.
    """

    labels: Int[Tensor, " n"]
    student_logits: Float[Tensor, "n k"]
    teacher_logits: Float[Tensor, "n k"] | None = None
    student_features: tuple[Tensor, ...] = ()
    teacher_features: tuple[Tensor, ...] = ()
    images: Tensor | None = None
    epoch: int = 0

    @property
    def from_teacher(self) -> Float[Tensor, "n k"]:
        """The teacher's logits, for methods that cannot do without."""
        if self.teacher_logits is None:
            raise ConfigError("this method learns from a teacher and none was given")
        return self.teacher_logits


@dataclass(eq=False, repr=False)
class Loss(nn.Module):
    """Base class of all methods. Subclasses are `@dataclass(eq=False, repr=False)` with their options as fields.

    Attributes:
        name: the name in the registry.
        needs_teacher: whether the method cannot work without a teacher.
        spatial: whether its layers are wanted as feature maps `(n, C, h, w)`, tokens included.
    """

    name: ClassVar[str] = ""
    needs_teacher: ClassVar[bool] = True
    spatial: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__init__()
        self.check()

    def check(self) -> None:
        """Raise `ConfigError` when an option makes no sense."""

    @property
    def options(self) -> dict[str, Any]:
        """Options by name, as they were given or by default, except those that are no plain values."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.metadata != UNRECORDED}

    @property
    def unused_parameters(self) -> bool:
        """Whether some step may leave a parameter without gradient (several processes must know)."""
        return False

    def plan(self, epochs: int) -> None:
        """Settle what depends on the length of the training, before anything is written down."""

    def phases(self, epochs: int) -> tuple[Phase, ...]:
        """Return the phases of a training of so many epochs; asked after `build`."""
        return (Phase(epochs),)

    def layers(self, student: nn.Module, teacher: nn.Module, example: Tensor) -> Layers:
        """Return the layers to record for a student and a teacher that take images like `example`, `(1, C, H, W)`."""
        return Layers()

    def build(self, inputs: Inputs) -> None:
        """Create the method's own parameters and check that shapes fit, from one example batch."""

    def agreeing(self, teacher_logits: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return the logits of a student that says what the teacher says; the teacher's, where both mean the same."""
        return teacher_logits

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Return the weighted terms whose sum is the loss; the plain label term is called `labels`."""
        raise NotImplementedError

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Make the method with these options.

        Raises:
            ConfigError: an option it does not have, or one that makes no sense.
        """
        known = [f.name for f in fields(cls) if f.init]
        for name in options:
            if name not in known:
                hint = did_you_mean(name, known) or (f"; it has {', '.join(known)}" if known else "; it has none")
                raise ConfigError(f'method "{cls.name}" has no option "{name}"{hint}')
        return cls(**options)


def in_full_precision(x: Tensor) -> Tensor:
    """Return half-precision tensors as float32 and others as they are: sums over classes need the digits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def check_same_classes(inputs: Inputs) -> None:
    """Raise `ModelError` unless teacher and student name equally many classes."""
    taught, learned = inputs.from_teacher.shape[-1], inputs.student_logits.shape[-1]
    if taught != learned:
        raise ModelError(
            f"the teacher gives {taught} classes and the student {learned}; "
            "build both with the same number of classes, in the same order"
        )


def check_option(ok: bool, name: str, text: str, value: object) -> None:
    """Raise `ConfigError` about the option `name` unless `ok`.

    Example:
        >>> check_option(True, "alpha", "must lie between 0 and 1", 0.5)
    """
    if not ok:
        raise ConfigError(f"{name} {text}, not {value}")
