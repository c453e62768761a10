"""The processes of a study or a training: `torchrun` or `accelerate launch` start them, this module lets them agree.

`PartialState` finds rank, device and back end (gloo on CPUs). The heavier `Accelerator` is left out on purpose: it
fixes the precision for the whole Python process, and its prepared loaders would hide the order of the images.
"""

from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Processes:
    """Who takes part.

    Args:
        device: `"auto"` (this process's accelerator, else the CPU) or a torch device name.

    Example:
        >>> here = Processes("cpu")
        >>> here.rank, here.is_main, here.share("x")
        (0, True, 'x')
    """

    def __init__(self, device: str = "auto") -> None:
        from accelerate import PartialState

        on_cpu = device == "cpu" or not torch.accelerator.is_available()  # else several CPU processes stay strangers
        self._state = PartialState(cpu=on_cpu)
        self.device = torch.device(self._state.device if device == "auto" else device)
        self.rank = int(self._state.process_index)
        self.count = int(self._state.num_processes)
        self.is_main = self.rank == 0

    def share(self, thing: T) -> T:
        """Return the first process's `thing` on every process."""
        if self.count == 1:
            return thing
        from accelerate.utils import broadcast_object_list

        return cast(T, broadcast_object_list([thing])[0])

    def total(self, numbers: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.count > 1:
            torch.distributed.all_reduce(numbers)
        return numbers

    def wait(self) -> None:
        """Wait until every process is here."""
        self._state.wait_for_everyone()

    def synchronised(self, module: nn.Module, *, unused_parameters: bool) -> nn.Module:
        """Return `module` with its gradients averaged over the processes; alone, or with nothing to train, as it is."""
        if self.count == 1 or not any(p.requires_grad for p in module.parameters()):
            return module
        ids: list[Any] | None = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids, find_unused_parameters=unused_parameters)
