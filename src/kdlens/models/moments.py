"""A network at one moment of its training: where its weights are, and a copy of the network with them."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from kdlens.errors import HistoryError
from kdlens.models.keys import fit_keys
from kdlens.models.weights import read_weights, tensors_fingerprint
from kdlens.models.wrappers import unwrap

Source = Path | Mapping[str, Tensor] | nn.Module
Unit = Literal["epoch", "checkpoint"]
"""What moments of a training are counted in: epochs, or the checkpoints of a list, whose epochs nobody knows."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network at one moment of its training.

    Attributes:
        epoch: epochs finished by then; for checkpoints given one by one their place among them, from 1.
        source: a file of weights, a state dict, or a network.
        unit: what `epoch` counts.
    """

    epoch: int
    source: Source
    unit: Unit = "epoch"

    @property
    def moment(self) -> str:
        """When it was: `"epoch 5"` or `"checkpoint 2"`."""
        return f"{self.unit} {self.epoch}"

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Weights and buffers by name; read anew from a file, without running any code in it."""
        if isinstance(self.source, Path):
            return read_weights(self.source)
        state = unwrap(self.source).state_dict() if isinstance(self.source, nn.Module) else self.source
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}

    @property
    def label(self) -> str:
        """The checkpoint for people: its file, or when it was."""
        if isinstance(self.source, Path):
            return str(self.source)
        return self.moment if self.unit == "checkpoint" else f"the checkpoint of {self.moment}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names, types, shapes and bytes; read once."""
        return self._read[0]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of weights and buffers by name."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[str, dict[str, tuple[int, ...]]]:
        tensors = self.tensors
        return tensors_fingerprint(tensors), {name: tuple(tensor.shape) for name, tensor in tensors.items()}

    def load_into(self, network: nn.Module) -> None:
        """Give a network the weights of this moment.

        Raises:
            HistoryError: they are those of another network.
        """
        fit = fit_keys(unwrap(network), self.tensors)
        if fit.problem:
            raise HistoryError(f"{self.label} does not fit {type(unwrap(network)).__name__}: {fit.problem}")
        unwrap(network).load_state_dict(fit.usable, strict=False)

    def equals(self, network: nn.Module) -> bool:
        """Whether a network has the weights of this moment."""
        own = unwrap(network).state_dict()
        found = fit_keys(unwrap(network), self.tensors).usable
        return all(torch.equal(own[name].cpu(), tensor.cpu()) for name, tensor in found.items())


def at_checkpoint(network: nn.Module, checkpoint: Checkpoint) -> nn.Module:
    """Return a copy of a network with the weights of a checkpoint: in eval mode, frozen, on the network's device.

    Raises:
        HistoryError: the checkpoint is of another network, or the network cannot be copied.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> earlier = Checkpoint(0, {name: torch.zeros_like(t) for name, t in net.state_dict().items()})
        >>> at_checkpoint(net, earlier)(torch.ones(1, 2)).item(), net.weight.requires_grad
        (0.0, True)
    """
    try:
        twin = copy.deepcopy(network)
    except Exception as error:  # whatever a network of another library does when copied
        raise HistoryError(
            f"{type(network).__name__} cannot be copied ({error}), so no checkpoint can be run"
        ) from error
    checkpoint.load_into(twin)
    return twin.eval().requires_grad_(False)
