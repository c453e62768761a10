"""What annotated data offer: images, and for each what is known of its pixels and of the whole."""

import hashlib
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.errors import DataError

_FINGERPRINTED = 16


class Annotation(NamedTuple):
    """What is known of one image.

    Attributes:
        pixels: `(channels, h, w)` int32 label numbers, 0 where nothing is known. One channel for each mask, category
            after category; at least one. The size need not be that of the image.
        whole: labels of the whole image, such as its scene.
    """

    pixels: Int[Tensor, "channels h w"]
    whole: tuple[int, ...]


@runtime_checkable
class ConceptData(Protocol):
    """Images with concept labels.

    Attributes:
        name: of the data.
        vocabulary: of the annotations.
        mean: recommended per-channel mean to subtract from images, where there is one.
        std: recommended per-channel standard deviation to divide by.
    """

    name: str
    vocabulary: Vocabulary
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None

    def __len__(self) -> int: ...

    def image(self, index: int) -> Float[Tensor, "c h w"]:
        """One image in [0, 1], not normalised.

        Raises:
            DataError: it cannot be read; names the file.
        """
        ...

    def annotation(self, index: int) -> Annotation:
        """What is known of one image.

        Raises:
            DataError: it cannot be read; names file and row. Other images are not affected.
        """
        ...

    def fingerprint(self) -> str:
        """SHA-256 over vocabulary, list and a sample; cheap."""
        ...


def nothing(height: int, width: int) -> Int[Tensor, "1 h w"]:
    """Pixels of which nothing is known."""
    return torch.zeros(1, height, width, dtype=torch.int32)


def fingerprint_of(data: ConceptData, listed: object = "") -> str:
    """SHA-256 over the vocabulary, what `listed` tells of all images, and at most 16 evenly spaced ones.

    What cannot be read counts as just that, so that the place of a folder makes no difference.
    """
    words = data.vocabulary
    told = (data.name, len(data), words.categories, words.names, words.primary.tolist(), listed)
    digest = hashlib.sha256(repr(told).encode())
    for i in torch.linspace(0, len(data) - 1, min(_FINGERPRINTED, len(data))).long().tolist():
        try:
            image, annotation = data.image(i), data.annotation(i)
        except DataError:
            digest.update(b"unreadable")
            continue
        digest.update(repr((tuple(image.shape), tuple(annotation.pixels.shape), annotation.whole)).encode())
        digest.update(image.contiguous().numpy().tobytes())
        digest.update(annotation.pixels.contiguous().numpy().tobytes())
    return digest.hexdigest()
