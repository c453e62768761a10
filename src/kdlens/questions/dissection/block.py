"""The labels of a block of images, and what lies above the thresholds under them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.questions.dissection.enlarge import Size
from kdlens.questions.dissection.labelled import Labelled
from kdlens.questions.dissection.surface import Above, Arranged, Surface
from kdlens.questions.dissection.tally import LabelSums, Tally

_AT_ONCE = 2**25
"""Pixels of enlarged maps that are held at once."""


@dataclass(eq=False)
class Block:
    """Labelled images that are looked at together.

    Attributes:
        labels: image -> its labels.
        groups: image -> the group its counts go to.
        givers: image -> for every deal the image whose activations meet its labels.
    """

    labels: dict[int, Labelled]
    groups: dict[int, int]
    givers: dict[int, list[int]]
    _arranged: dict[tuple[int, Size], Arranged] = field(default_factory=dict)

    def see_labels(self, sums: LabelSums, dealt: LabelSums) -> None:
        """Count the labels of all images, and of those that are dealt."""
        for index, image in self.labels.items():
            sums.see(self.groups[index], image)
            for deal in range(len(self.givers[index])):
                dealt.see(deal, image)

    def see_units(
        self, indices: Sequence[int], maps: Float[Tensor, "n units h w"], thresholds: Tensor, tally: Tally, dealt: Tally
    ) -> None:
        """Count where units lie above their thresholds, under the images' own labels and those dealt to them."""
        limits = thresholds.to(maps.device)
        places = torch.arange(len(indices))
        sizes = [self.labels[index].size for index in indices]
        for size in dict.fromkeys(sizes):
            same = places[torch.tensor([other == size for other in sizes])]
            # images that are not dealt to one another need not wait for one another
            for part in [same] if dealt.groups else same.split(1):
                named = torch.tensor(indices)[part]
                for pairs in _active(maps[part.to(maps.device)], named, limits, size):
                    for index in named.tolist():
                        self._see_pairs(pairs, index, tally, dealt)

    def _see_pairs(self, pairs: "_Pairs", index: int, tally: Tally, dealt: Tally) -> None:
        """Count units in images under the labels of the image `index`."""
        image, own = self.labels[index], (pairs.images == index).nonzero()[:, 0]
        counts = pairs.above.count(self._in_cells(index, pairs.surface)).cpu()
        tally.see(torch.full_like(own, self.groups[index]), pairs.units[own], counts[own], image)
        if dealt.groups:
            givers = torch.tensor(self.givers[index], dtype=torch.int64)
            deal, pair = (pairs.images == givers[:, None]).nonzero(as_tuple=True)
            dealt.see(deal, pairs.units[pair], counts[pair], image)

    def _in_cells(self, index: int, surface: Surface) -> Arranged:
        """The labels of an image in the order of the surface's cells; networks and layers of one size share them."""
        key = (index, surface.small)
        if key not in self._arranged:
            self._arranged[key] = self.labels[index].arranged(surface)
        return self._arranged[key]


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Units, each in an image in which it is active."""

    surface: Surface
    above: Above
    units: Int[Tensor, " p"]
    images: Int[Tensor, " p"]


def _active(
    maps: Float[Tensor, "n units h w"], images: Int[Tensor, " n"], limits: Tensor, size: Size
) -> Iterator[_Pairs]:
    """The units that are active in each image, as many at once as memory allows."""
    surface = Surface((maps.shape[2], maps.shape[3]), size)
    unit, place = (maps.amax((2, 3)) > limits).T.nonzero(as_tuple=True)
    for part in torch.arange(len(unit)).split(max(1, _AT_ONCE // (size[0] * size[1]))):
        units, places = unit[part], place[part]
        yield _Pairs(surface, surface.above(maps[places, units], limits[units]), units.cpu(), images[places.cpu()])


def deal_out(labels: dict[int, Labelled], deals: int, seed: int) -> dict[int, list[int]]:
    """Deal every image's labels to others whose masks have its size: each time another shift of a random circle.

    Every deal uses every image once on either side. An image without others of its size is left out.

    Returns:
        Image -> for every deal the image that its labels meet.
    """
    found: dict[int, list[int]] = {index: [] for index in labels}
    generator = torch.Generator().manual_seed(seed)
    for size in {image.size: None for image in labels.values()}:
        same = [index for index, image in labels.items() if image.size == size]
        if len(same) == 1:
            continue
        circle = torch.randperm(len(same), generator=generator).tolist()
        shifts = torch.randperm(len(same) - 1, generator=generator) + 1
        for deal in range(deals):
            shift = int(shifts[deal % len(shifts)])
            for place, member in enumerate(circle):
                found[same[member]].append(same[circle[(place + shift) % len(circle)]])
    return found
