"""Concepts of any dataset."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import DataLoader

from kdlens.data.concepts.annotated import Annotation, ConceptData, fingerprint_of, nothing
from kdlens.data.concepts.given_words import GivenWords, Names, find_words
from kdlens.data.concepts.scenes import SceneConcepts
from kdlens.data.concepts.values import Value, read_value
from kdlens.data.items import to_image
from kdlens.data.scenes import FashionScenes
from kdlens.data.sources import name_of
from kdlens.errors import DataError

_EXPECTED = "expected (image, {category: mask or label}) or a dict with the keys image and concepts"
_OVERSHOOT = 0.01  # by which resizing with a sharp kernel may leave [0, 1]


def as_concepts(
    dataset: Any,
    names: Names | None = None,
    *,
    scan: bool = True,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> ConceptData:
    """Take images with concepts from whatever holds them.

    Args:
        dataset: annotated data already, `FashionScenes`, or a map-style dataset (or a DataLoader, whose dataset is
            used) of `(image, concepts)` or of dicts with the keys `image` and `concepts`. An item must be the same
            whenever it is asked for. Images are as for `kdlens.Images`, before normalisation. Concepts are a dict
            by category; a value is an int array `(h, w)` or `(c, h, w)` of labels from 1 (0 is none), a dict
            `{name: mask}`, a label of the whole image (its name or its number), a list of these, or None.
        names: names of the labels 1, 2, ... of some categories, or a dict of names by number. More may be named than
            occur. Other numbers are called "CATEGORY NUMBER".
        scan: read the whole dataset once for what occurs in it. With `False` nothing is read beforehand, and what
            `names` does not have is an error of its image.
        mean: recommended per-channel mean to subtract; by default the dataset's own.
        std: recommended per-channel standard deviation to divide by; by default the dataset's own.

    Raises:
        DataError: it holds no such items.

    Example:
        >>> mask = torch.zeros(8, 8, dtype=torch.bool)
        >>> mask[2:4] = True
        >>> data = as_concepts([(torch.rand(3, 8, 8), {"object": {"cat": mask}, "scene": "garden"})])
        >>> data.vocabulary.names, data.annotation(0).pixels.sum().item(), data.annotation(0).whole
        (('', 'cat', 'garden'), 16, (2,))
    """
    if isinstance(dataset, FashionScenes):
        dataset = SceneConcepts.of(dataset)
    if isinstance(dataset, ConceptData):
        if names is not None or mean is not None or std is not None:
            raise DataError(f"{dataset.name} has its names, mean and std already; leave them out")
        return dataset
    return GivenConcepts(dataset, names, scan=scan, mean=mean, std=std)


class GivenConcepts:
    """Concepts of any dataset; see `as_concepts` for what it takes.

    Attributes:
        dataset: as given.
        vocabulary: categories in the order they are named, then found.
    """

    def __init__(
        self,
        dataset: Any,
        names: Names | None = None,
        *,
        scan: bool = True,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        self.dataset = _map_style(dataset)
        self.name = name_of(self.dataset)
        if mean is None and std is None:
            mean, std = getattr(self.dataset, "mean", None), getattr(self.dataset, "std", None)
        if (mean is None) != (std is None):
            raise DataError("give both mean and std, or neither")
        self.mean = None if mean is None else tuple(float(value) for value in mean)
        self.std = None if std is None else tuple(float(value) for value in std)
        self._words = find_words(names or {}, self._values, len(self)) if scan else GivenWords(names or {})
        self.vocabulary = self._words.vocabulary

    def __len__(self) -> int:
        return len(self.dataset)

    def image(self, index: int) -> Float[Tensor, "c h w"]:
        """One image in [0, 1].

        Raises:
            DataError: it cannot be read, or has been normalised.
        """
        where = self._where(index)
        image, _ = to_image(self._item(index)[0], where)
        low, high = float(image.min()), float(image.max())
        if low < -_OVERSHOOT or high > 1 + _OVERSHOOT:
            raise DataError(
                f"{where} has values from {low:.3g} to {high:.3g}; expected [0, 1]: leave out the normalisation and "
                "give mean= and std="
            )
        return image.clamp(0, 1)

    def annotation(self, index: int) -> Annotation:
        """What is known of one image.

        Raises:
            DataError: masks differ in size, or a value is no annotation; names image and category.
        """
        channels: list[Tensor] = []
        whole: list[int] = []
        for category, value in self._words.in_order(self._values(index), self._where(index)).items():
            where = self._where(index, category)
            whole += [self._words.number(category, label, where) for label in value.whole]
            for channel in value.channels:
                if channels and channel.pixels.shape != channels[0].shape:
                    raise DataError(
                        f"{where} has a mask of {_by(channel.pixels)}, but another of this image is "
                        f"{_by(channels[0])}; all masks of an image have one size"
                    )
                channels.append(self._words.numbered(category, channel, where))
        if channels:
            return Annotation(torch.stack(channels), tuple(whole))
        height, width = to_image(self._item(index)[0], self._where(index))[0].shape[1:]
        return Annotation(nothing(height, width), tuple(whole))

    def fingerprint(self) -> str:
        """SHA-256 over the vocabulary, the count, and a sample of images with their annotations."""
        return fingerprint_of(self)

    def _values(self, index: int) -> dict[str, Value]:
        """What the dataset says of one image, by category."""
        concepts = self._item(index)[1]
        return {str(category): read_value(concepts[category], self._where(index, category)) for category in concepts}

    def _item(self, index: int) -> tuple[Any, Mapping[str, Any]]:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} images; there is no image {index}")
        where = self._where(index)
        try:
            raw = self.dataset[index]
        except (OSError, SyntaxError) as error:  # PIL raises a SyntaxError for some broken PNG files
            raise DataError(f"{where} cannot be read: {error}") from error
        if isinstance(raw, Mapping) and "image" in raw and "concepts" in raw:
            image, concepts = raw["image"], raw["concepts"]
        elif isinstance(raw, (tuple, list)) and len(raw) == 2:
            image, concepts = raw
        else:
            raise DataError(f"{where} is a {type(raw).__name__}; {_EXPECTED}")
        if not isinstance(concepts, Mapping):
            raise DataError(f"the concepts of {where} are a {type(concepts).__name__}; {_EXPECTED}")
        return image, concepts

    def _where(self, index: int, category: object = None) -> str:
        image = f"image {index} of {self.name}"
        return image if category is None else f'"{category}" of {image}'


def _map_style(source: Any) -> Any:
    source = source.dataset if isinstance(source, DataLoader) else source
    usable = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    if not usable or isinstance(source, (str, bytes, Mapping)):
        raise DataError(f"cannot take concepts from a {type(source).__name__}; {_EXPECTED}, in a map-style dataset")
    if len(source) == 0:
        raise DataError(f"{name_of(source)} holds no images")
    return source


def _by(pixels: Tensor) -> str:
    return " x ".join(map(str, pixels.shape))
