"""Work through many images in portions, smaller ones when memory runs out."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from kdlens.errors import KdlensError

T = TypeVar("T")

PORTION = 32
"""Images a pass, unless the caller says otherwise."""


def in_portions(function: Callable[[slice], T], n: int, size: int | None = None) -> list[T]:
    """Call `function` on slices that cover `range(n)`; halve them when memory runs out.

    Raises:
        KdlensError: memory runs out even for a single image.

    Example:
        >>> in_portions(lambda part: (part.start, part.stop), 5, size=2)
        [(0, 2), (2, 4), (4, 5)]
    """
    size = PORTION if size is None else max(1, size)
    results: list[T] = []
    start = 0
    while start < n:
        try:
            results.append(function(slice(start, min(start + size, n))))
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if size == 1:
                raise KdlensError("out of memory with one image at a time; use smaller images or features") from error
            size //= 2
        else:
            start += size
    return results


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's first parameter or buffer; the CPU where it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in ("out of memory", "can't allocate memory", "not enough memory"))
