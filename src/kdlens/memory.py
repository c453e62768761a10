"""Memory: how many images a pass can take, and what to do when it runs out all the same.

Batches are a matter of memory alone: no result of a study depends on their size.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from kdlens.errors import KdlensError
from kdlens.models.device import device_of
from kdlens.models.taps import record

T = TypeVar("T")

MEMORY_SHARE = 0.6
"""Share of the free memory a pass may plan with; the rest is the operating system's and the user's."""

LARGEST_BATCH = 256

PORTION = 32
"""Images a call where nothing else is said; more are hardly faster, and few networks are too large for them."""

_SMALL = 8 * 3 * 256 * 256
"""Numbers in a batch of images that needs no estimate of memory."""

_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "STATUS_ALLOC_FAILED")


def in_portions(function: Callable[[slice], T], n: int, size: int | None = None) -> list[T]:
    """Call `function` on slices that cover `range(n)`; halve them when memory runs out.

    Args:
        function: takes a slice of at most `size` images.
        n: number of images.
        size: images a call; 32 unless told.

    Raises:
        KdlensError: memory runs out even for a single image.

    Example:
        >>> in_portions(lambda part: (part.start, part.stop), 5, 2)
        [(0, 2), (2, 4), (4, 5)]
    """
    size = min(PORTION, n) if size is None else max(1, size)
    results: list[T] = []
    start = 0
    while start < n:
        try:
            results.append(function(slice(start, min(start + size, n))))
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            if size == 1:
                raise KdlensError(
                    "out of memory with one image at a time; use smaller images, fewer layers or a smaller network"
                ) from error
            size //= 2
        else:
            start += size
    return results


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, on whatever device.

    Example:
        >>> ran_out(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
        True
    """
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def free_bytes(device: torch.device) -> int:
    """Memory of a device that nothing uses, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def estimate_batch_size(network: nn.Module, example: Tensor) -> int:
    """Estimate how many images like `example` a forward pass can take at once.

    Counts the bytes all leaf modules put out for one image, an upper bound of what a pass without gradients keeps, and
    plans with `MEMORY_SHARE` of the free memory.

    Args:
        network: any network; it comes back as it was.
        example: `(1, C, H, W)`, on the network's device.

    Returns:
        A power of two between 1 and 256.

    Example:
        >>> estimate_batch_size(nn.Linear(4, 2), torch.zeros(1, 4))
        256
    """
    leaves = [name for name, module in network.named_modules() if name and not any(module.children())]
    seen = _CountBytes(network, leaves)
    with seen:
        record(network, example, ())
    fits = int(MEMORY_SHARE * free_bytes(example.device) / max(1, seen.total + example.nbytes))
    return max(1, min(LARGEST_BATCH, 1 << max(0, fits.bit_length() - 1)))


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


class _CountBytes:
    """Counts the bytes that leaf modules put out while it is active."""

    def __init__(self, network: nn.Module, leaves: Sequence[str]) -> None:
        self.total = 0
        self._modules = [network.get_submodule(name) for name in leaves]
        self._handles: list[Any] = []

    def __enter__(self) -> "_CountBytes":
        self._handles = [module.register_forward_hook(self._count) for module in self._modules]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _count(self, _module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            self.total += output.nbytes
