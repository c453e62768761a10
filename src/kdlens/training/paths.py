"""How far the weights of a layer travel during training: what W(m) of the learning-dynamics questions is made of.

W(m) = sum_{k<=m} ||w_k - w_{k-1}|| / ||w_0|| after epoch m (Cheng et al., CVPR 2020). The paper sums over epochs, the
authors' code over single updates; neither can be had from the other afterwards, so both are recorded.

The weights of a layer are its own `weight` where it has one, and otherwise all trainable parameters below it, as one
long vector.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import LayerShapeError, ModelError
from kdlens.models.layers import MOST_AUTO_LAYERS, auto_layers, resolve
from kdlens.models.training_files import PATH_COLUMNS
from kdlens.models.weighted import is_weighted, layer_of_weights

_PIECE = 2**14
"""Numbers summed in float32, which loses 0.1 % of a norm over tens of millions; the sums are added in float64."""


@dataclass(frozen=True)
class PathLengths:
    """Path lengths of a training, not divided by ||w_0||.

    Attributes:
        layers: dotted names.
        per_step: after each epoch, from 0 on: the sum over all updates so far of ||w_t - w_{t-1}||.
        per_epoch: likewise the sum over all epochs so far of ||w_end - w_start||.
        initial_norm: ||w_0|| of each layer.
    """

    layers: tuple[str, ...]
    per_step: Float[Tensor, "epochs_1 layers"]
    per_epoch: Float[Tensor, "epochs_1 layers"]
    initial_norm: Float[Tensor, " layers"]

    def relative(self, kind: Literal["per_step", "per_epoch"] = "per_epoch") -> Float[Tensor, "epochs_1 layers"]:
        """Return W(m): path lengths divided by ||w_0||. Infinite for a layer that started at zero.

        Example:
            >>> one = torch.ones(1, 1, dtype=torch.float64)
            >>> PathLengths(("fc",), one, one, torch.tensor([2.0], dtype=torch.float64)).relative().item()
            0.5
        """
        return (self.per_step if kind == "per_step" else self.per_epoch) / self.initial_norm

    def rows(self) -> list[dict[str, Any]]:
        """One row an epoch and layer: epoch, layer, per_step, per_epoch, initial_norm."""
        return [
            dict(
                zip(
                    PATH_COLUMNS,
                    (
                        epoch,
                        layer,
                        float(self.per_step[epoch, i]),
                        float(self.per_epoch[epoch, i]),
                        float(self.initial_norm[i]),
                    ),
                    strict=True,
                )
            )
            for epoch in range(len(self.per_step))
            for i, layer in enumerate(self.layers)
        ]


class PathRecorder:
    """Follows the weights of some layers of a network while it is trained.

    Args:
        network: the student.
        layers: dotted names.

    Raises:
        LayerNotFoundError: the network has no such layer.
        ModelError: a layer has no trainable weights.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        self.layers = tuple(layers)
        groups = [layer_weights(network, name) for name in layers]
        self._now = [weight.detach() for group in groups for weight in group]
        device = self._now[0].device if self._now else torch.device("cpu")
        owner = [i for i, group in enumerate(groups) for weight in group for _ in weight.flatten().split(_PIECE)]
        self._owner = torch.tensor(owner, dtype=torch.long, device=device)
        self._previous = [weight.clone() for weight in self._now]
        self._start = [weight.clone() for weight in self._now]
        self._zero = torch.zeros(len(groups), dtype=torch.float64, device=device)
        self._initial = self._lengths(self._now)
        self._steps, self._epochs = self._zero.clone(), self._zero.clone()
        self._rows: list[tuple[list[float], list[float]]] = [(self._steps.tolist(), self._epochs.tolist())]

    @torch.no_grad()
    def after_step(self) -> None:
        """Add the length of the update that was just made."""
        if not self._now:
            return
        torch._foreach_sub_(self._previous, self._now)
        self._steps += self._lengths(self._previous)
        torch._foreach_copy_(self._previous, self._now)

    @torch.no_grad()
    def after_epoch(self) -> None:
        """Add the distance between the ends of two epochs and keep a row."""
        if self._now:
            torch._foreach_sub_(self._start, self._now)
            self._epochs += self._lengths(self._start)
            torch._foreach_copy_(self._start, self._now)
        self._rows.append((self._steps.tolist(), self._epochs.tolist()))

    def result(self) -> PathLengths:
        """Return everything recorded up to the last finished epoch."""
        table = torch.tensor(self._rows, dtype=torch.float64).reshape(len(self._rows), 2, len(self.layers))
        return PathLengths(self.layers, table[:, 0], table[:, 1], self._initial.cpu())

    def state(self) -> dict[str, Any]:
        """Numbers to continue from; exact, as JSON writes floats with all their digits."""
        return {"rows": self._rows, "steps": self._steps.tolist(), "initial": self._initial.tolist()}

    def tensors(self) -> list[Tensor]:
        """Weights at the start of the epoch."""
        return self._start

    def restore(self, state: dict[str, Any], start: Sequence[Tensor]) -> None:
        """Continue from `state`, after the network has its weights back; no `start` means the start is now."""
        self._rows = [(list(steps), list(epochs)) for steps, epochs in state["rows"]]
        self._steps = torch.tensor(state["steps"], dtype=torch.float64, device=self._zero.device)
        self._epochs = torch.tensor(self._rows[-1][1], dtype=torch.float64, device=self._zero.device)
        self._initial = torch.tensor(state["initial"], dtype=torch.float64, device=self._zero.device)
        for kept, given, now, previous in zip(self._start, start or self._now, self._now, self._previous, strict=True):
            kept.copy_(given)
            previous.copy_(now)

    def _lengths(self, tensors: list[Tensor]) -> Tensor:
        if not tensors:
            return self._zero.clone()
        pieces = [piece for tensor in tensors for piece in tensor.flatten().split(_PIECE)]
        squares = torch.stack([norm.double() for norm in torch._foreach_norm(pieces)]).square()
        return self._zero.index_add(0, self._owner, squares).sqrt()


def layer_weights(network: nn.Module, name: str) -> list[nn.Parameter]:
    """Return a layer's own `weight`, or all trainable parameters below it.

    Example:
        >>> [tuple(w.shape) for w in layer_weights(nn.Sequential(nn.Linear(2, 3)), "0")]
        [(3, 2)]
    """
    module = resolve(network, name)
    own = getattr(module, "weight", None)
    found = [own] if isinstance(own, nn.Parameter) else [p for p in module.parameters() if p.requires_grad]
    if not found:
        raise ModelError(f'layer "{name}" has no trainable weights, so it has no path; name a layer that has')
    return found


def choose_path_layers(network: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Choose the layers a study would look at; for one without weights (a ReLU) the last layer before it that has some.

    Networks without feature maps give their last weighted layers.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU())
        >>> choose_path_layers(net, torch.zeros(1, 3, 32, 32))
        ('0', '2')
    """
    weighted = [name for name, module in network.named_modules() if name and is_weighted(module, _trained)]
    try:
        chosen = auto_layers(network, example)
    except LayerShapeError:
        return tuple(weighted[-MOST_AUTO_LAYERS:])
    owners = (layer_of_weights(network, name, _trained) for name in chosen if name)  # a bare layer has no name
    return tuple(dict.fromkeys(owner for owner in owners if owner))


def _trained(parameter: nn.Parameter) -> bool:
    return parameter.requires_grad
