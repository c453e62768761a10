"""Names of concepts: which numbers annotations may hold, what they mean, and which category each belongs to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from kdlens.errors import DataError

LARGEST_LABEL = 65_535
"""Largest label number: Broden's masks have two bytes for it."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Categories of concepts and their labels.

    Attributes:
        categories: names of the categories, in the order of the data's own list.
        names: `names[number]` is the name of a label; `names[0]` is empty, for "unlabelled", and so are gaps.
        primary: `(len(names),)` int64, index into `categories` of each label's primary category; -1 for number 0, for
            gaps, and for labels of none of the categories.

    Raises:
        DataError: the parts do not fit together.

    Example:
        >>> words = Vocabulary.of({"object": ["cat", "dog"], "color": ["red"]})
        >>> words.names, words.primary.tolist(), words.labels("color").tolist()
        (('', 'cat', 'dog', 'red'), [-1, 0, 0, 1], [3])
    """

    categories: tuple[str, ...]
    names: tuple[str, ...]
    primary: Int[Tensor, " labels"]

    def __post_init__(self) -> None:
        if not self.categories or len(set(self.categories)) < len(self.categories):
            raise DataError(f"a vocabulary needs categories, each once; got {list(self.categories)}")
        if len(self.names) > LARGEST_LABEL + 1:
            raise DataError(f"a vocabulary holds at most {LARGEST_LABEL:,} labels; got {len(self.names) - 1:,}")
        if not self.names or self.names[0]:
            raise DataError("names[0] of a vocabulary stands for what is unlabelled; it must be empty")
        if self.primary.shape != (len(self.names),) or int(self.primary[0]) != -1:
            raise DataError(
                f"primary must have one entry for each of the {len(self.names)} names, and -1 for the first"
            )
        if self.primary.min() < -1 or self.primary.max() >= len(self.categories):
            raise DataError(f"primary must lie between -1 and {len(self.categories) - 1}, the last category")

    @classmethod
    def of(cls, names: Mapping[str, Sequence[str]]) -> "Vocabulary":
        """Number labels from 1, category after category.

        Args:
            names: names of the labels of every category.

        Raises:
            DataError: no category, or too many labels.
        """
        counts = [len(labels) for labels in names.values()]
        primary = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.int64))
        return cls(
            categories=tuple(names),
            names=("", *(name for labels in names.values() for name in labels)),
            primary=torch.cat([torch.tensor([-1]), primary]),
        )

    def labels(self, category: str) -> Int[Tensor, " m"]:
        """Numbers of the labels whose primary category is `category`, ascending."""
        return (self.primary == self.categories.index(category)).nonzero()[:, 0]
