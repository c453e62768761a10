"""Tensors inside the tuples, lists, dicts and dataclasses that layers give out."""

import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

from torch import Tensor


def first_tensor(output: Any) -> Tensor | None:
    """Return the first tensor in `output`, depth first, or None.

    Example:
        >>> import torch
        >>> first_tensor((None, {"logits": torch.ones(2), "hidden": torch.zeros(3)})).shape
        torch.Size([2])
    """
    if isinstance(output, Tensor):
        return output
    return next((found for _, part in _parts(output) if (found := first_tensor(part)) is not None), None)


def replace_tensor(output: Any, old: Tensor, new: Tensor) -> Any:
    """Return `output` with `new` wherever it holds the object `old`; containers are copied, not changed."""
    if output is old:
        return new
    changed = {key: replace_tensor(part, old, new) for key, part in _parts(output)}
    if all(changed[key] is part for key, part in _parts(output)):
        return output
    if isinstance(output, tuple):
        values = list(changed.values())
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    twin = copy.copy(output)
    for key, part in changed.items():
        if isinstance(output, dict | list):
            twin[key] = part
        else:
            object.__setattr__(twin, key, part)
    return twin


def _parts(output: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(output, dict):
        yield from output.items()
    elif isinstance(output, tuple | list):
        yield from enumerate(output)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        yield from ((field.name, getattr(output, field.name)) for field in dataclasses.fields(output))
