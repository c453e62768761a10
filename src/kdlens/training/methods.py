"""From a method's name and options to a loss that fits its networks."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from kdlens.errors import ConfigError
from kdlens.training.losses import LOSSES, Loss

Method = str | type[Loss] | Loss
"""A registered name, a class, or a loss with its options."""


def make_method(method: Method, options: Mapping[str, Any]) -> Loss:
    """Return the loss for a method and its options.

    Raises:
        UnknownNameError: an unknown name.
        ConfigError: an option the method does not have, or options beside a loss that has its own already.

    Example:
        >>> make_method("kd", {"alpha": 0.5}).options
        {'temperature': 4.0, 'alpha': 0.5}
    """
    if isinstance(method, Loss):
        if options:
            raise ConfigError(f"the method has its options already; give {', '.join(options)} where it is made")
        return method
    kind = LOSSES[method] if isinstance(method, str) else method
    return kind.from_options(options)


def check_networks(loss: Loss, teacher: nn.Module | None, student: nn.Module) -> nn.Module | None:
    """Return the teacher the method is to be run with, None where labels teach alone.

    Raises:
        ConfigError: a missing teacher, or one that is the student itself.
    """
    if not loss.needs_teacher:
        return None
    if teacher is None:
        raise ConfigError(f'method "{loss.name}" learns from a teacher; give one, or train with method="labels"')
    if teacher is student:
        raise ConfigError("teacher and student are the same object; give the student a copy: copy.deepcopy(teacher)")
    return teacher
