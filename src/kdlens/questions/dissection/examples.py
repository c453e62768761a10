"""The images that move each unit most."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Examples:
    """For every unit the images of largest activation anywhere in them, of a stream.

    Args:
        count: images a unit.

    Example:
        >>> top = Examples(2)
        >>> top.update(torch.tensor([[[[0.0, 3.0]]], [[[1.0, 0.0]]], [[[2.0, 2.0]]]]), torch.tensor([7, 8, 9]))
        >>> top.images.tolist()
        [[7, 9]]
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._values = torch.zeros(0, 0)
        self.images: Int[Tensor, "units k"] = torch.zeros(0, 0, dtype=torch.int64)

    def update(self, maps: Float[Tensor, "n units h w"], indices: Int[Tensor, " n"]) -> None:
        """See some more images, called `indices`."""
        most = maps.amax((2, 3)).T.cpu().nan_to_num(-torch.inf)
        names = indices.expand(len(most), -1)
        if len(self._values):
            most, names = torch.cat([self._values, most], 1), torch.cat([self.images, names], 1)
        # the smaller name first among equals, whatever the order of the stream
        order = names.argsort(dim=1, stable=True)
        most, names = most.gather(1, order), names.gather(1, order)
        first = most.argsort(dim=1, descending=True, stable=True)[:, : self.count]
        self._values, self.images = most.gather(1, first), names.gather(1, first)
