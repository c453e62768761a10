"""The processes of a study or a training: `torchrun` or `accelerate launch` start them, this module lets them agree.

`PartialState` finds rank, device and back end (gloo on CPUs). The heavier `Accelerator` is left out on purpose: it
fixes the precision for the whole Python process, and its prepared loaders would hide the order of the images.
"""

from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from kdlens.errors import ConfigError

T = TypeVar("T")


class Processes:
    """Who takes part.

    Args:
        device: `"auto"` (this process's accelerator, else the CPU) or a torch device name.

    Raises:
        ConfigError: a device that is unknown or not here.

    Example:
        >>> here = Processes("cpu")
        >>> here.rank, here.is_main, here.share("x")
        (0, True, 'x')
    """

    def __init__(self, device: str = "auto") -> None:
        from accelerate import PartialState

        wanted = None if device == "auto" else _existing(device)
        on_cpu = wanted == torch.device("cpu") or not torch.accelerator.is_available()
        self._state = PartialState(cpu=on_cpu)  # without cpu=True several CPU processes stay strangers
        self.device = torch.device(self._state.device) if wanted is None else wanted
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


def _existing(name: str) -> torch.device:
    """A device by name; one that is unknown or absent is told now, not in the first forward pass."""
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        found = torch.accelerator.current_accelerator()
        here = "cpu" if found is None else f"cpu and {found.type} ({torch.accelerator.device_count()})"
        raise ConfigError(f'device "{name}" cannot be used; this machine has {here}. "auto" chooses') from error
    return device
