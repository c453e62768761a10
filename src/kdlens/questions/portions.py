"""Work through many images in portions, smaller ones when memory runs out."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from kdlens.errors import KdlensError
from kdlens.runtime import estimate_batch_size

T = TypeVar("T")

PORTION = 32
"""Most images a pass, unless the caller says otherwise."""

_SMALL = 8 * 3 * 256 * 256
"""Numbers in a batch of images that needs no estimate of memory."""


def in_portions(function: Callable[[slice], T], n: int, size: int | None = None) -> list[T]:
    """Call `function` on slices that cover `range(n)`; halve them when memory runs out.

    Raises:
        KdlensError: memory runs out even for a single image.

    Example:
        >>> in_portions(lambda part: (part.start, part.stop), 5, size=2)
        [(0, 2), (2, 4), (4, 5)]
    """
    size = min(PORTION, n) if size is None else max(1, size)
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


def portion_size(model: nn.Module, images: Tensor, *, gradients: bool = False) -> int:
    """How many of the images to pass through a network at once, by an estimate of memory where there are many.

    Example:
        >>> portion_size(nn.Conv2d(3, 4, 3), torch.zeros(100, 3, 8, 8))
        32
    """
    if images.numel() <= _SMALL:
        return PORTION
    fits = estimate_batch_size(model, images[:1].to(device_of(model)))
    return max(1, min(PORTION, fits // 2 if gradients else fits))  # a pass with gradients keeps every layer, and theirs


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's first parameter or buffer; the CPU where it has none."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in ("out of memory", "can't allocate memory", "not enough memory"))
