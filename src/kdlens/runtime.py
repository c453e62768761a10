"""Processes, devices and batches: run a function over many images, the same answer on one process or several.

A pass is cut into contiguous shards, one a process, and the pieces come back in data order on every process, so what is
computed from them afterwards is computed alike everywhere. Launch with `torchrun` or `accelerate launch`.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from kdlens.memory import in_portions
from kdlens.processes import Processes


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
        mine = self.shard(items)

        def run(part: slice) -> dict[str, Tensor]:
            return {name: tensor.detach().cpu() for name, tensor in function(mine[part]).items()}

        return _join(self._gather(in_portions(run, len(mine), batch_size)))

    def _gather(self, pieces: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
        if self.processes.count == 1:
            return pieces
        from accelerate.utils import gather_object

        return list(gather_object(pieces))  # ranks in order, so the data order is kept; empty shards add nothing


def _join(pieces: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    if not pieces:
        return {}
    return {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
