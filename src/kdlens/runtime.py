"""Processes, devices and batches: run a function over many images, the same answer on one process or several.

A pass is cut into contiguous shards, one a process, and the pieces come back in data order on every process, so what is
computed from them afterwards is computed alike everywhere. Launch with `torchrun` or `accelerate launch`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kdlens.errors import KdlensError
from kdlens.processes import Processes

MEMORY_SHARE = 0.6
"""Share of the free memory a pass may plan with; the rest is the operating system's and the user's."""

LARGEST_BATCH = 256


class Runtime:
    """Where and in what portions a study runs.

    Args:
        device: `"auto"` (the accelerator of this process, else the CPU) or a torch device name.
        batch_size: images a forward pass, or `None` to estimate it from free memory.

    Example:
        >>> runtime = Runtime("cpu", batch_size=2)
        >>> runtime.over(torch.arange(5), lambda part: {"square": part**2}, batch_size=2)["square"].tolist()
        [0, 1, 4, 9, 16]
    """

    def __init__(self, device: str = "auto", batch_size: int | None = None) -> None:
        self.processes = Processes(device)
        self.device = self.processes.device
        self.batch_size = batch_size

    def shard(self, items: Tensor) -> Tensor:
        """Return this process's contiguous part of `items`; parts differ by at most one item."""
        rank, count, n = self.processes.rank, self.processes.count, len(items)
        return items[rank * n // count : (rank + 1) * n // count]

    def over(
        self, items: Tensor, function: Callable[[Tensor], Mapping[str, Tensor]], *, batch_size: int
    ) -> dict[str, Tensor]:
        """Apply `function` to batches of `items` and return its tensors, joined along the first axis in item order.

        Args:
            items: `(n,)` indices, or any tensor with one entry an item.
            function: takes a slice of `items`, returns tensors whose first axis runs over it.
            batch_size: items a call; halved when memory runs out.

        Raises:
            KdlensError: memory runs out even for a single item.
        """
        return _join(self._gather(_batched(self.shard(items), function, batch_size)))

    def _gather(self, pieces: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        if self.processes.count == 1:
            return pieces
        from accelerate.utils import gather_object

        return list(gather_object(pieces))  # ranks in order, so the data order is kept; empty shards add nothing


def _batched(
    items: Tensor, function: Callable[[Tensor], Mapping[str, Tensor]], batch_size: int
) -> list[dict[str, Tensor]]:
    from accelerate.utils.memory import should_reduce_batch_size

    pieces: list[dict[str, Tensor]] = []
    start = 0
    while start < len(items):
        try:
            result = function(items[start : start + batch_size])
        except (RuntimeError, MemoryError) as error:
            exhausted = isinstance(error, MemoryError) or should_reduce_batch_size(error)
            if not exhausted or batch_size == 1:
                if exhausted:
                    raise KdlensError("out of memory with a batch of one image; use fewer layers or images") from error
                raise
            batch_size //= 2
            continue
        pieces.append({name: tensor.detach().cpu() for name, tensor in result.items()})
        start += batch_size
    return pieces


def _join(pieces: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    if not pieces:
        return {}
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}


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
    from kdlens.models.taps import record

    leaves = [name for name, module in network.named_modules() if name and not any(module.children())]
    seen = _CountBytes(network, leaves)
    with seen:
        record(network, example, ())
    fits = int(MEMORY_SHARE * free_bytes(example.device) / max(1, seen.total + example.nbytes))
    return max(1, min(LARGEST_BATCH, 1 << max(0, fits.bit_length() - 1)))


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


def free_bytes(device: torch.device) -> int:
    """Memory of a device that nothing uses, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)
