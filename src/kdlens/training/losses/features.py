"""What methods that compare layers share: choosing the pairs, and bringing two activations to one grid."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.errors import ConfigError, LayerShapeError
from kdlens.models.layers import auto_layers, resolve
from kdlens.training.losses.base import Layers

LayerChoice = str | Sequence[str]
"""`"auto"`, one dotted name, or several."""


def choose_pairs(
    student: nn.Module,
    teacher: nn.Module,
    example: Tensor,
    student_layers: LayerChoice,
    teacher_layers: LayerChoice,
) -> Layers:
    """Pair layers of student and teacher, first to last.

    Where both are `"auto"` and the networks have unequally many stages, the last ones are paired.

    Raises:
        LayerNotFoundError: a name that a network does not have.
        ConfigError: unequally many names.
    """
    mine, theirs = _names(student, example, student_layers), _names(teacher, example, teacher_layers)
    if student_layers == "auto" and teacher_layers == "auto":
        count = min(len(mine), len(theirs))
        return Layers(mine[len(mine) - count :], theirs[len(theirs) - count :])
    if len(mine) != len(theirs):
        raise ConfigError(
            f"layers are compared in pairs, but there are {len(mine)} of the student ({', '.join(mine)}) "
            f"and {len(theirs)} of the teacher ({', '.join(theirs)}); name equally many"
        )
    return Layers(mine, theirs)


def _names(network: nn.Module, example: Tensor, choice: LayerChoice) -> tuple[str, ...]:
    if choice == "auto":
        return auto_layers(network, example)
    names = (choice,) if isinstance(choice, str) else tuple(choice)
    for name in names:
        resolve(network, name)
    return names


def to_one_grid(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the larger of two `(n, C, H, W)` activations to the grid of the smaller, axis by axis.

    Example:
        >>> import torch
        >>> [x.shape[2:] for x in to_one_grid(torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 4, 4))]
        [torch.Size([4, 4]), torch.Size([4, 4])]
    """
    height, width = (min(a.shape[axis], b.shape[axis]) for axis in (2, 3))
    return _pooled(a, height, width), _pooled(b, height, width)


def _pooled(x: Tensor, height: int, width: int) -> Tensor:
    return x if x.shape[2:] == (height, width) else F.adaptive_avg_pool2d(x, (height, width))


def check_pairs(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> None:
    """Raise `LayerShapeError` unless there is at least one pair and every pair is complete."""
    if not student or len(student) != len(teacher):
        raise LayerShapeError(
            f"this method compares layers; got {len(student)} of the student and {len(teacher)} of the teacher"
        )
