"""What both backends need of one network: its feature at a layer, the cells of its input, and room to work in."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.memory import estimate_batch_size, portion_size
from kdlens.models.device import device_of
from kdlens.models.upto import upto
from kdlens.questions.discarding.cells import Cells, Grid


@dataclass(frozen=True, eq=False)
class Lens:
    """A network seen at one layer.

    Attributes:
        activation: from inputs `(r, ...)` to the layer's activation, differentiable.
        cells: the cells of the input.
        rows: inputs a pass.
        device: of the network.
    """

    activation: Callable[[Tensor], Tensor]
    cells: Cells
    rows: int
    device: torch.device

    def feature(self, x: Float[Tensor, "r ..."]) -> Float[Tensor, "r units"]:
        """Return the positive part of the activation, as the published code does, one long vector an input."""
        return self.activation(x).flatten(1).relu()

    def activations(self, x: Float[Tensor, "..."], noise: Float[Tensor, "r ..."]) -> Float[Tensor, "r ..."]:
        """Return the layer's activations for x + noise, without gradients."""
        with torch.no_grad():
            return torch.cat([self.activation(x + part.to(x)) for part in noise.split(self.rows)])

    def changes(
        self, x: Float[Tensor, "..."], noise: Float[Tensor, "r ..."], clean: Float[Tensor, " units"]
    ) -> Float[Tensor, "r units"]:
        """Return f(x + noise) - f(x), without gradients."""
        if not len(noise):
            return clean.new_zeros(0, len(clean))
        with torch.no_grad():
            return torch.cat([self.feature(x + part.to(x)) - clean for part in noise.split(self.rows)])

    def energies(
        self, x: Float[Tensor, "..."], noise: Float[Tensor, "r ..."], clean: Float[Tensor, " units"]
    ) -> Float[Tensor, " r"]:
        """Return ||f(x + noise) - f(x)||^2; no more than a pass of changes is held at once."""
        parts = noise.split(self.rows)
        return torch.cat([self.changes(x, part, clean).double().square().sum(1) for part in parts])


@contextmanager
def lens(model: nn.Module, layer: str, images: Float[Tensor, "n ..."], grid: Grid) -> Iterator[Lens]:
    """Look at `layer` of `model`; the network comes back as it was.

    Raises:
        DataError: the grid does not fit the images; LayerNotFoundError: no such layer.
    """
    cells = Cells(tuple(images.shape[1:]), grid)
    rows = _rows(model, images)
    with upto(model, layer) as activation:
        device = device_of(model)
        if device.type == "cpu" and images.dim() == 4:
            activation = _channels_last(activation, images[:1].repeat(2, 1, 1, 1))
        yield Lens(activation, cells, rows, device)


def _channels_last(activation: Callable[[Tensor], Tensor], images: Tensor) -> Callable[[Tensor], Tensor]:
    """The same function with inputs laid out channels last, on which convolutions of a processor are a tenth faster.

    Networks that do not bear it (by `view`, say) or do not give the same keep the usual layout.
    """

    def faster(x: Tensor) -> Tensor:
        return activation(x.contiguous(memory_format=torch.channels_last))

    with torch.no_grad():
        usual = activation(images)
        try:
            same = usual.numel() > 0 and torch.allclose(
                faster(images), usual, rtol=1e-3, atol=1e-4 * float(usual.abs().amax())
            )
        except RuntimeError:
            same = False
    return faster if same else activation


def _rows(model: nn.Module, images: Tensor) -> int:
    if images.dim() != 4:
        return 32
    if device_of(model).type == "cpu":
        return portion_size(model, images[:1].expand(32, *images.shape[1:]), gradients=True)
    return max(1, estimate_batch_size(model, images[:1].to(device_of(model))) // 2)
