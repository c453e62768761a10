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

    def changes(
        self, x: Float[Tensor, "..."], noise: Float[Tensor, "r ..."], clean: Float[Tensor, " units"]
    ) -> Float[Tensor, "r units"]:
        """Return f(x + noise) - f(x), without gradients."""
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
        yield Lens(activation, cells, rows, device_of(model))


def _rows(model: nn.Module, images: Tensor) -> int:
    if images.dim() != 4:
        return 32
    if device_of(model).type == "cpu":
        return portion_size(model, images[:1].expand(32, *images.shape[1:]), gradients=True)
    return max(1, estimate_batch_size(model, images[:1].to(device_of(model))) // 2)
