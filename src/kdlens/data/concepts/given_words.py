"""The vocabulary of any dataset: as named, or as found in it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from kdlens.data.concepts.values import Channel, Label, Value
from kdlens.data.concepts.vocabulary import LARGEST_LABEL, Vocabulary
from kdlens.errors import DataError, did_you_mean

Names = Mapping[str, Sequence[str] | Mapping[int, str]]
T = TypeVar("T")


class GivenWords:
    """Labels as a dataset writes them, and their numbers in a vocabulary.

    Args:
        names: by category the names of labels 1, 2, ..., or of some numbers.
        found: by category what else occurs.

    Attributes:
        vocabulary: categories in the order they are named, then found; labels by number, then as found.

    Raises:
        DataError: no category, a name that is no text, or one that a category has twice.
    """

    def __init__(self, names: Names, found: Mapping[str, Sequence[Label]] | None = None) -> None:
        called: dict[str, dict[Label, str]] = {}
        for category in dict.fromkeys([*names, *(found or {})]):
            called[category] = _by_number(names[category], category) if category in names else {}
            for label in (found or {}).get(category, ()):
                if label not in called[category] and label not in called[category].values():
                    called[category][label] = label if isinstance(label, str) else f"{category} {label}"
        if not called:
            raise DataError("no names are given; expected the names of labels 1, 2, ... for each category")
        self.vocabulary = Vocabulary.of({category: list(labels.values()) for category, labels in called.items()})
        self._numbers: dict[str, dict[Label, int]] = {}
        for category, labels in called.items():
            numbers = self.vocabulary.labels(category).tolist()
            by_name: dict[Label, int] = dict(zip(labels.values(), numbers, strict=True))
            self._numbers[category] = by_name | dict(zip(labels, numbers, strict=True))

    def in_order(self, values: Mapping[str, T], where: str) -> dict[str, T]:
        """Sort what is known of an image by category.

        Raises:
            DataError: there is no such category.
        """
        known = self.vocabulary.categories
        for category in values:
            if category not in known:
                hint = did_you_mean(category, known)
                raise DataError(
                    f'{where} has the category "{category}", which names does not have{hint or "."} '
                    f"Known: {', '.join(known)}"
                )
        return {category: values[category] for category in known if category in values}

    def number(self, category: str, label: Label, where: str) -> int:
        """Number of a label in the vocabulary.

        Raises:
            DataError: there is no such label.
        """
        numbers = self._numbers[category]
        if label not in numbers:
            names = [name for name in numbers if isinstance(name, str)]
            hint = did_you_mean(label, names) if isinstance(label, str) else ""
            raise DataError(f"{where} has the label {label!r}; names has no such label of the category{hint}")
        return numbers[label]

    def numbered(self, category: str, channel: Channel, where: str) -> Int[Tensor, "h w"]:
        """A mask with the numbers of the vocabulary."""
        pixels, name = channel
        if name is not None:
            return pixels * self.number(category, name, where)
        present, places = pixels.unique(return_inverse=True)
        numbers = [self.number(category, value, where) if value else 0 for value in present.tolist()]
        return torch.tensor(numbers, dtype=torch.int32)[places]


def find_words(names: Names, values: Callable[[int], Mapping[str, Value]], count: int) -> GivenWords:
    """Go over a dataset for the labels that occur in it.

    Args:
        names: by category what is named.
        values: what the dataset says of an image; images that cannot be read are passed over.
        count: of images.

    Raises:
        DataError: nothing occurs, and nothing is named; of images that cannot be read the first tells why.
    """
    found: dict[str, dict[Label, None]] = {}
    first: DataError | None = None
    for index in range(count):
        try:
            for category, value in values(index).items():
                found.setdefault(category, {}).update(dict.fromkeys(value.labels()))
        except DataError as error:
            first = first or error
    occurring = {c: sorted(labels, key=lambda label: (isinstance(label, str), label)) for c, labels in found.items()}
    if not names and not any(occurring.values()):
        raise first or DataError(f"none of {count} images has a concept")
    return GivenWords(names, occurring)


def _by_number(names: Sequence[str] | Mapping[int, str], category: str) -> dict[Label, str]:
    pairs = sorted(names.items()) if isinstance(names, Mapping) else list(enumerate(names, start=1))
    if isinstance(names, str):
        raise DataError(f'names["{category}"] is the text {names!r}; expected the names of labels 1, 2, ...')
    for number, name in pairs:
        if not isinstance(number, int) or not 1 <= number <= LARGEST_LABEL or not isinstance(name, str) or not name:
            raise DataError(f'names["{category}"] has {name!r} for label {number!r}; expected text for numbers from 1')
    if len({name for _, name in pairs}) < len(pairs):
        raise DataError(f'names["{category}"] has a name twice; every label has its own')
    return dict(pairs)
