"""The labels of a block of images, and what lies above the thresholds under them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.questions.dissection.enlarge import Size
from kdlens.questions.dissection.labelled import Labelled
from kdlens.questions.dissection.surface import Above, Surface
from kdlens.questions.dissection.tally import LabelSums, Tally

_AT_ONCE = 2**24
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

    def see_labels(self, sums: LabelSums, dealt: LabelSums) -> None:
        """Count the labels of all images, and of those that are dealt."""
        for index, image in self.labels.items():
            sums.see(slice(self.groups[index], self.groups[index] + 1), image)
            dealt.see(slice(len(self.givers[index])), image)

    def see_units(
        self, indices: Sequence[int], maps: Float[Tensor, "n units h w"], thresholds: Tensor, tally: Tally, dealt: Tally
    ) -> None:
        """Count where units lie above their thresholds, under the images' own labels and those dealt to them."""
        sizes = [self.labels[index].size for index in indices]
        for size in dict.fromkeys(sizes):
            same = torch.tensor([other == size for other in sizes])
            images = torch.tensor(indices)[same]
            for pairs in _active(maps[same.to(maps.device)], images, thresholds.to(maps.device), size):
                for place in pairs.places.unique().tolist():
                    self._see_own(pairs, place, int(images[place]), tally)
                for index in images.tolist() if dealt.groups else ():
                    self._see_dealt(pairs, index, dealt)

    def _see_own(self, pairs: "_Pairs", place: int, index: int, tally: Tally) -> None:
        """Count an image's units under its own labels."""
        start, stop = torch.searchsorted(pairs.places, torch.tensor([place, place + 1])).tolist()
        units = pairs.units[start:stop]
        area, hits = self.labels[index].count(pairs.above.of(start, stop), pairs.surface)
        tally.see(torch.full_like(units, self.groups[index]), units, area, hits, self.labels[index])

    def _see_dealt(self, pairs: "_Pairs", index: int, dealt: Tally) -> None:
        """Count other images' units under the labels of the image `index`."""
        area, hits = self.labels[index].count(pairs.above, pairs.surface)
        givers = torch.tensor(self.givers[index], dtype=torch.int64)
        deal, pair = (pairs.images == givers[:, None]).nonzero(as_tuple=True)
        dealt.see(deal, pairs.units[pair], area[pair], hits[pair], self.labels[index])


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Units in images in which they are active, image after image."""

    surface: Surface
    above: Above
    units: Int[Tensor, " p"]
    places: Int[Tensor, " p"]
    images: Int[Tensor, " p"]


def _active(
    maps: Float[Tensor, "n units h w"], images: Int[Tensor, " n"], limits: Tensor, size: Size
) -> Iterator[_Pairs]:
    """The units that are active in each image, as many at once as memory allows."""
    surface = Surface((maps.shape[2], maps.shape[3]), size)
    place, unit = (maps.amax((2, 3)) > limits).nonzero(as_tuple=True)
    for part in torch.arange(len(unit)).split(max(1, _AT_ONCE // (size[0] * size[1]))):
        places, units = place[part], unit[part]
        above = surface.above(maps[places, units], limits[units])
        yield _Pairs(surface, above, units.cpu(), places.cpu(), images[places.cpu()])


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
