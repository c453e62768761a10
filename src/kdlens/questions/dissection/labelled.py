"""The labels of one image in the form the counting needs."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.data.concepts.annotated import Annotation
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.errors import DataError
from kdlens.questions.dissection.enlarge import Size
from kdlens.questions.dissection.surface import Above

_KEPT = 2**22
"""Entries of an image's table that are kept; larger tables are made anew each time, as many labels at once."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """One image's labels.

    Attributes:
        size: rows and columns of the masks.
        numbers: labels that occur at pixels, ascending, as the vocabulary numbers them.
        masks: which of `numbers` every pixel carries, counted from 1; 0 for none.
        counts: pixels of each of `numbers`, masks counted one by one.
        whole: labels of the whole image, each once.
        categories: `(labels, categories)`, whether a category is the primary one of one of `numbers`.
        by_whole: categories of which the whole image has a label.
    """

    size: Size
    numbers: Int[np.ndarray, " labels"]
    masks: Int[np.ndarray, "channels pixels"]
    counts: Int[np.ndarray, " labels"]
    whole: Int[np.ndarray, " w"]
    categories: Bool[np.ndarray, "labels categories"]
    by_whole: Bool[np.ndarray, " categories"]
    _kept: list[Float[Tensor, "places labels"]] = field(default_factory=list)

    @classmethod
    def of(cls, annotation: Annotation, vocabulary: Vocabulary) -> "Labelled":
        """Find the labels.

        Raises:
            DataError: a label number that the vocabulary does not have.
        """
        pixels = annotation.pixels.flatten(1).numpy()
        whole = np.unique(np.array(annotation.whole, dtype=np.int64))
        counts = _counts(pixels, len(vocabulary.names))
        _check(whole, len(vocabulary.names))
        numbers = 1 + counts[1:].nonzero()[0]
        places = np.zeros(len(counts), dtype=np.int32)
        places[numbers] = np.arange(1, 1 + len(numbers))
        primary = vocabulary.primary.numpy()
        every = np.arange(len(vocabulary.categories))
        return cls(
            size=(annotation.pixels.shape[1], annotation.pixels.shape[2]),
            numbers=numbers,
            masks=places.take(pixels),
            counts=counts[numbers],
            whole=whole,
            categories=primary[numbers, None] == every,
            by_whole=(primary[whole, None] == every).any(0),
        )

    @property
    def present(self) -> Bool[np.ndarray, " categories"]:
        """Categories of which the image has a label, anywhere."""
        return self.categories.any(0) | self.by_whole

    def count(self, above: Above) -> Float[np.ndarray, "maps labels"]:
        """Pixels above the thresholds of each map that carry each of `numbers`: whole numbers, exact below 2**24."""
        found = [above.count(table) for table in self._tables()]
        return (found[0] if len(found) == 1 else np.concatenate(found, 1))[:, 1:]

    def _tables(self) -> Iterator[Float[Tensor, "places labels"]]:
        """What `Above.count` needs: of every place how often each label stands above it in its column.

        Label 0 is none. All labels are in one table, unless that would be too large to keep.
        """
        each = max(1, _KEPT // self.masks.shape[1])
        if each > len(self.numbers):
            if not self._kept:
                self._kept.append(self._table(0, 1 + len(self.numbers)))
            yield self._kept[0]
        else:
            for start in range(0, 1 + len(self.numbers), each):
                yield self._table(start, min(start + each, 1 + len(self.numbers)))

    def _table(self, start: int, stop: int) -> Float[Tensor, "places labels"]:
        (height, width), labels = self.size, stop - start
        keys = np.arange(-start, height * width * labels - start, labels) + self.masks
        keys = keys.ravel() if labels > len(self.numbers) else keys[(self.masks >= start) & (self.masks < stop)]
        dtype = torch.int16 if len(self.masks) * height < 2**15 else torch.int32  # less to move than float32
        table = torch.zeros((height + 1) * width * labels, dtype=dtype)
        table[width * labels :].scatter_add_(0, torch.from_numpy(keys), torch.ones(len(keys), dtype=dtype))
        for row, following in pairwise(list(table.view(height + 1, -1).numpy())):
            np.add(row, following, out=following)
        return table.float().view(-1, labels)


def _counts(pixels: Int[np.ndarray, "channels pixels"], labels: int) -> Int[np.ndarray, " labels"]:
    """Pixels of every label. Neighbours are mostly alike: runs are counted by their lengths."""
    values = pixels.ravel()
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    found = values[starts]
    _check(found, labels)
    return np.bincount(found, np.diff(starts, append=len(values)), labels).astype(np.int64)


def _check(found: Int[np.ndarray, " n"], labels: int) -> None:
    if len(found) and (found.min() < 0 or found.max() >= labels):
        raise DataError(f"labels run from 1 to {labels - 1}, but {found.min()} to {found.max()} were found")
