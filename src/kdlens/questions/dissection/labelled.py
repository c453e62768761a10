"""The labels of one image in the form the counting needs."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from kdlens.data.concepts.annotated import Annotation
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.errors import DataError
from kdlens.questions.dissection.enlarge import Size
from kdlens.questions.dissection.surface import Above, Surface

_DIGITS = 62
"""Binary digits that labels may fill of a number of 64."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """One image's labels. Pixels that carry the same labels in all masks are a region: pixels are counted by region.

    Attributes:
        size: rows and columns of the masks.
        numbers: labels that occur at pixels, ascending, as the vocabulary numbers them.
        regions: `(pixels,)` the region of every pixel, row by row.
        carried: `(regions, labels)` how many masks give a region each of `numbers`.
        counts: pixels of each of `numbers`, masks counted one by one.
        whole: labels of the whole image.
        categories: `(labels, categories)`, 1 where a category is the primary one of one of `numbers`.
        by_whole: categories of which the whole image has a label.
    """

    size: Size
    numbers: Int[Tensor, " labels"]
    regions: Int[Tensor, " pixels"]
    carried: Float[Tensor, "regions labels"]
    counts: Int[Tensor, " labels"]
    whole: Int[Tensor, " w"]
    categories: Float[Tensor, "labels categories"]
    by_whole: Bool[Tensor, " categories"]
    _orders: dict[Surface, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, annotation: Annotation, vocabulary: Vocabulary) -> "Labelled":
        """Find the regions.

        Raises:
            DataError: a label number that the vocabulary does not have.
        """
        pixels, whole = annotation.pixels, torch.tensor(annotation.whole, dtype=torch.int64)
        for found in (pixels, whole):
            _check(found, len(vocabulary.names) - 1)
        regions, labels = _regions(pixels.flatten(1).numpy())
        sizes = torch.from_numpy(np.bincount(regions, minlength=len(labels)))
        numbers = np.unique(labels)
        numbers = numbers[numbers > 0]
        carried = torch.from_numpy(_carried(labels, numbers)).float()
        of_pixels, of_whole = (_categories(n, vocabulary) for n in (torch.from_numpy(numbers).long(), whole))
        return cls(
            size=(pixels.shape[1], pixels.shape[2]),
            numbers=torch.from_numpy(numbers).long(),
            regions=torch.from_numpy(regions),
            carried=carried,
            counts=(sizes.double() @ carried.double()).long(),
            whole=whole,
            categories=of_pixels,
            by_whole=of_whole.any(0),
        )

    @property
    def present(self) -> Bool[Tensor, " categories"]:
        """Categories of which the image has a label, anywhere."""
        return self.categories.any(0) | self.by_whole

    def count(self, above: Above, surface: Surface) -> tuple[Int[Tensor, " maps"], Float[Tensor, "maps labels"]]:
        """Pixels of each map that lie above its threshold: all, and those of each of `numbers`; on the CPU."""
        regions = self._ordered(surface).to(above.places.device)
        of_region = above.count(regions, len(self.carried) + 1).cpu()[:, :-1]  # the last is outside
        return of_region.sum(1), of_region.float() @ self.carried  # exact below 2**24 pixels

    def _ordered(self, surface: Surface) -> Int[Tensor, " places"]:
        if surface not in self._orders:
            self._orders[surface] = surface.ordered(self.regions.view(self.size), outside=len(self.carried))
        return self._orders[surface]


def _regions(masks: Int[np.ndarray, "channels pixels"]) -> tuple[Int[np.ndarray, " pixels"], Int[np.ndarray, "r c"]]:
    """The region of every pixel, and the labels of every region, mask after mask.

    The labels of a pixel are written behind one another into one number; where the digits run out, what stands there
    is numbered anew.
    """
    keys, used = np.zeros(masks.shape[1], dtype=np.int64), 0
    for mask in masks:
        least = int(mask.min())
        digits = (int(mask.max()) - least).bit_length()  # none for a mask that is the same everywhere
        if used + digits > _DIGITS:
            keys, firsts = _numbered(keys)
            used = len(firsts).bit_length()
        keys <<= digits
        keys += mask
        keys -= least
        used += digits
    regions, firsts = _numbered(keys)
    return regions, masks[:, firsts].T


def _numbered(values: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " k"]]:
    """Number the values that occur, and say where each occurs first. Neighbours are mostly alike: runs are sorted."""
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    _, firsts, numbers = np.unique(values[starts], return_index=True, return_inverse=True)
    return np.repeat(numbers, np.diff(starts, append=len(values))), starts[firsts]


def _carried(labels: Int[np.ndarray, "r c"], numbers: Int[np.ndarray, " l"]) -> Float[np.ndarray, "r l"]:
    """How many masks give each region each of the labels `numbers`."""
    rows, found = np.arange(len(labels)), np.zeros((len(labels), 1 + len(numbers)))
    for column in np.searchsorted(numbers, labels, side="right").T:  # 0 for no label, which is smaller than all
        found[rows, column] += 1
    return found[:, 1:]


def _check(found: Int[Tensor, "..."], largest: int) -> None:
    if found.numel() and (int(found.min()) < 0 or int(found.max()) > largest):
        raise DataError(f"labels run from 1 to {largest}, but {int(found.min())} to {int(found.max())} were found")


def _categories(labels: Tensor, vocabulary: Vocabulary) -> Float[Tensor, "labels categories"]:
    shifted = functional.one_hot(vocabulary.primary[labels] + 1, len(vocabulary.categories) + 1)
    return shifted[:, 1:].float()  # the first column stands for labels of none of the categories
