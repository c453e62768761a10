"""The state of a training as one safetensors file: tensors as tensors, everything else as JSON in the file's header.

One file, moved into place in one step, is there whole or not at all; and reading it runs no code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdlens.errors import RunFolderError

FORMAT = "kdlens-training-1"

ANEW = "overwrite=True (--restart on the command line)"
"""How a person asks for a training from the start."""


@dataclass
class State:
    """A training between two updates.

    Attributes:
        epoch: finished epochs.
        step: updates made in the epoch that is under way.
        notes: what is no tensor: history, sums, options of the optimiser.
        tensors: weights and the optimiser's memory, by name.
    """

    epoch: int = 0
    step: int = 0
    notes: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        from safetensors.torch import save

        notes = json.dumps({"format": FORMAT, "epoch": self.epoch, "step": self.step, **self.notes})
        return save({name: own_copy(tensor) for name, tensor in self.tensors.items()}, {"state": notes})

    @classmethod
    def from_file(cls, path: str) -> "State":
        """Read a state.

        Raises:
            RunFolderError: the file is damaged or something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                notes = json.loads((file.metadata() or {}).get("state", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, ValueError, OSError) as error:
            raise RunFolderError(f"{path} cannot be read ({error}); train again with {ANEW}") from error
        if notes.pop("format", None) != FORMAT:
            raise RunFolderError(f"{path} is not the state of a training of this version of kdlens")
        return cls(notes.pop("epoch"), notes.pop("step"), notes, tensors)


def own_copy(tensor: Tensor) -> Tensor:
    """Return a contiguous copy on the CPU that shares no memory: tied weights cannot be written otherwise."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under `prefix.name`.

    Example:
        >>> list(prefixed("student", {"fc.weight": torch.zeros(1)}))
        ['student.fc.weight']
    """
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that `prefixed` put under `prefix`."""
    return {
        name.removeprefix(f"{prefix}."): tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's memory as `INDEX.NAME`."""
    memory: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value
        for index, kept in memory.items()
        for name, value in kept.items()
        if isinstance(value, Tensor)
    }


def optimizer_notes(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimiser's groups, which are plain numbers."""
    return {"groups": optimizer.state_dict()["param_groups"]}


def restore_optimizer(
    optimizer: torch.optim.Optimizer, notes: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> None:
    """Give the optimiser its memory back, in the layout of the weights: fused updates take that for granted."""
    memory: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        memory.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": memory, "param_groups": notes["groups"]})
    for parameter, kept in optimizer.state.items():
        for key, value in kept.items():
            if value.shape == parameter.shape:
                kept[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def restore_module(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a module its weights and buffers back."""
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise RunFolderError(f"the stored state belongs to another network: {error}") from error
