"""A network was asked for: is it one? If not, say what was given instead and how to make a network of it."""

import os
from collections.abc import Mapping

from torch import Tensor, nn

from kdlens.errors import ModelError


def require_network(value: object, who: str) -> nn.Module:
    """Return `value` when it is a network.

    Args:
        value: what was given.
        who: whose network it should be, for the error.

    Raises:
        ModelError: it is something else: a state dict, a path, a class.

    Example:
        >>> require_network("student.pt", "student")
        Traceback (most recent call last):
        kdlens.errors.ModelError: the student is the text 'student.pt', but a network ...
    """
    if isinstance(value, nn.Module):
        return value
    what, advice = _told(value)
    raise ModelError(f"the {who} is {what}, but a network (torch.nn.Module) was expected; {advice}")


def _told(value: object) -> tuple[str, str]:
    """What was given, and what to do."""
    load = "build the network and load the weights into it: kdlens.load_model(ARCH, weights=FILE)"
    if isinstance(value, type):
        return f"the class {value.__name__}", f"give an instance of it: {value.__name__}(...)"
    if isinstance(value, (str, os.PathLike)):
        return f"the {'text' if isinstance(value, str) else 'path'} {os.fspath(value)!r}", load
    if isinstance(value, Mapping):
        tensors = sum(isinstance(entry, Tensor) for entry in value.values())
        what = f"a state dict ({tensors} tensors)" if tensors else f"a mapping ({type(value).__name__})"
        return what, "build the network and call its load_state_dict with the state dict"
    if callable(value):
        return f"the function {getattr(value, '__name__', type(value).__name__)}", "give the network it makes"
    return f"of type {type(value).__name__}", load
