"""What a method of the benchmark is given: two networks and images."""

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """Two networks and the images on which to show what one has that the other has not.

    Attributes:
        model: the network to explain.
        given: the network whose knowledge is taken out.
        images: as the networks take them.
        labels: of `model`'s task.
        reference: images and labels of a comparison set.
        others: networks that differ from `given` in nothing but chance; may be empty.
        seed: for methods that draw at random.
    """

    model: nn.Module
    given: nn.Module
    images: Float[Tensor, "n c H W"]
    labels: Int[Tensor, " n"]
    reference: tuple[Float[Tensor, "m c H W"], Int[Tensor, " m"]]
    others: list[nn.Module] = field(default_factory=list)
    seed: int = 0


Method = Callable[[Case], Float[Tensor, "n H W"]]
"""Signed maps at the size of the images; what the benchmark scores is their positive part."""
