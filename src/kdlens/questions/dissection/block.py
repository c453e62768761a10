"""The labels of a block of images, and what lies above the thresholds under them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.questions.dissection.enlarge import Size
from kdlens.questions.dissection.labelled import Labelled
from kdlens.questions.dissection.surface import Above, find_above
from kdlens.questions.dissection.tally import LabelSums, Tally


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
            if self.givers[index]:
                dealt.see(slice(len(self.givers[index])), image)

    def see_units(
        self, indices: Sequence[int], maps: Float[Tensor, "n units h w"], thresholds: Tensor, tally: Tally, dealt: Tally
    ) -> None:
        """Count where units lie above their thresholds, under the images' own labels and those dealt to them."""
        active = (maps.flatten(2).amax(2) > thresholds.to(maps.device)).cpu()
        sizes = [self.labels[index].size for index in indices]
        for size in dict.fromkeys(sizes):
            same = [place for place, other in enumerate(sizes) if other == size]
            pairs = _Pairs.among(maps, thresholds, active[same], same, [indices[place] for place in same], size)
            for index in pairs.of:
                self._see_own(pairs, index, tally)
            for index, image in self.labels.items() if dealt.groups else ():
                if image.size == size:
                    self._see_dealt(pairs, index, dealt)

    def _see_own(self, pairs: "_Pairs", index: int, tally: Tally) -> None:
        """Count an image's units under its own labels."""
        which = pairs.of[index]
        if which.start == which.stop:
            return
        above, rows = pairs.above.of(which.start, which.stop), self.groups[index] * tally.units + pairs.units[which]
        tally.see(rows, above.area, self.labels[index].count(above), self.labels[index])

    def _see_dealt(self, pairs: "_Pairs", index: int, dealt: Tally) -> None:
        """Count other images' units under the labels of the image `index`."""
        givers = [(deal, pairs.of[giver]) for deal, giver in enumerate(self.givers[index]) if giver in pairs.of]
        if not givers:
            return
        order = np.concatenate([np.arange(which.start, which.stop) for _, which in givers])
        rows = np.concatenate([deal * dealt.units + pairs.units[which] for deal, which in givers])
        hits = self.labels[index].count(pairs.above)
        dealt.see(rows, pairs.above.area[order], hits[order], self.labels[index])


@dataclass(eq=False)
class _Pairs:
    """Units in images in which they are active, image after image.

    Attributes:
        above: where each lies above its threshold.
        units: of each.
        of: image -> which are its.
    """

    above: Above
    units: Int[np.ndarray, " p"]
    of: dict[int, slice]

    @classmethod
    def among(
        cls,
        maps: Tensor,
        thresholds: Tensor,
        active: Bool[Tensor, "k units"],
        places: Sequence[int],
        names: Sequence[int],
        size: Size,
    ) -> "_Pairs":
        """Find them in the images at some places of `maps`, called `names`, whose masks have a size."""
        image, unit = active.nonzero(as_tuple=True)
        where = torch.tensor(places)[image].to(maps.device), unit.to(maps.device)
        above = find_above(maps[where], thresholds.cpu()[unit], size)
        ends = active.sum(1).cumsum(0).tolist()
        return cls(above, unit.numpy(), dict(zip(names, map(slice, [0, *ends], ends), strict=True)))


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
