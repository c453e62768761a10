"""VOC, Oxford-IIIT pets and CUB with concepts: the names of segmented objects."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.data.concepts.annotated import Annotation, fingerprint_of
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.data.cub import CUB
from kdlens.data.files import inside, open_image, shown
from kdlens.data.on_disk import OnDisk, label_image
from kdlens.data.pets import Pets
from kdlens.data.voc import VOC, VOC_CLASSES, VOID
from kdlens.errors import DataError


class Segmented(ABC):
    """Base of the readers of segmented photographs.

    Args:
        images: the photographs.
        vocabulary: of the annotations.
    """

    def __init__(self, images: OnDisk, vocabulary: Vocabulary) -> None:
        self.images = images
        self.vocabulary = vocabulary
        self.name = images.name
        self.mean = None if images.mean is None else tuple(images.mean)
        self.std = None if images.std is None else tuple(images.std)

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Float[Tensor, "3 h w"]:
        """One photograph in [0, 1].

        Raises:
            DataError: it cannot be read; names the file.
        """
        pixels = torch.from_numpy(np.array(open_image(self._file(index))))
        return pixels.permute(2, 0, 1).contiguous().float() / 255

    def annotation(self, index: int) -> Annotation:
        """The names of one photograph's pixels.

        Raises:
            DataError: the segmentation cannot be read, or is not of the photograph's size; names the file.
        """
        return Annotation(self.pixels(index, image_size(self._file(index))), ())

    @abstractmethod
    def pixels(self, index: int, size: tuple[int, int]) -> Int[Tensor, "channels h w"]:
        """Label numbers of one photograph of height and width `size`."""

    def fingerprint(self) -> str:
        """SHA-256 over the vocabulary, the names of the files, the classes, and a sample of the photographs."""
        return fingerprint_of(self, ([file.name for file in self.images.files], self.images.labels.tolist()))

    def _file(self, index: int) -> Path:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} images; there is no image {index}")
        return self.images.files[index]

    def _of_object(self, index: int, size: tuple[int, int], labels: list[int]) -> Int[Tensor, "channels h w"]:
        """Channels that have their label where the object is, and nothing elsewhere."""
        mask = self.images.mask(index, size)
        if mask is None:
            raise DataError(f"{self.name}: there is no segmentation of {shown(self._file(index))}")
        return torch.tensor(labels, dtype=torch.int32)[:, None, None] * mask


class VOCConcepts(Segmented):
    """All segmented objects of PASCAL VOC 2012, by class; its void border counts as unlabelled.

    Args:
        root: as for `VOC`.
        split: `"train"`, `"val"` or `"trainval"`; the images that are segmented.

    Raises:
        DataError: something is missing, damaged or leads out of the folder; the message shows the layout.
    """

    images: VOC

    def __init__(self, root: str | os.PathLike[str] | None = None, split: str = "val") -> None:
        super().__init__(VOC(root, split, masks="segmentation"), Vocabulary.of({"object": VOC_CLASSES}))

    def pixels(self, index: int, size: tuple[int, int]) -> Int[Tensor, "1 h w"]:
        """Class numbers of one photograph's pixels, from 1."""
        path = inside(self.images.folder / "SegmentationClass", f"{self.images.files[index].stem}.png")
        values = label_image(path, size).int()
        values[values == VOID] = 0
        if values.max() > len(VOC_CLASSES):
            raise DataError(f"{shown(path)} has class {int(values.max())}; expected 1 to {len(VOC_CLASSES)}, or {VOID}")
        return values[None]


class PetConcepts(Segmented):
    """Oxford-IIIT pets: where the animal is, the species as object, and the breed.

    Args:
        root: as for `Pets`.
        split: `"trainval"` (also called `"train"`), `"test"` or `"all"`.
        border: whether the trimaps' uncertain border counts as `"object"` or as `"background"`.

    Raises:
        DataError: something is missing, damaged or leads out of the folder; the message shows the layout.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "test",
        *,
        border: Literal["object", "background"] = "object",
    ) -> None:
        breeds = Pets(root, split, border=border)
        if not breeds.trimaps[0].parent.is_dir():
            raise DataError(f"pets: there is no folder {shown(breeds.trimaps[0].parent)}; unpack annotations.tar.gz")
        species = Pets(root, split, labels="species")
        self._species = species.labels
        super().__init__(breeds, Vocabulary.of({"object": species.classes, "breed": breeds.classes}))

    def pixels(self, index: int, size: tuple[int, int]) -> Int[Tensor, "2 h w"]:
        """Species and breed where the animal is."""
        species, breeds = len(self.vocabulary.labels("object")), self.images.labels
        return self._of_object(index, size, [int(self._species[index]) + 1, int(breeds[index]) + species + 1])


class CUBConcepts(Segmented):
    """CUB-200-2011: where the bird is, bird as object, and its species.

    Args:
        root: as for `CUB`, with `segmentations` unpacked in it or beside it.
        split: `"train"`, `"test"` or `"all"`.

    Raises:
        DataError: something is missing, damaged or leads out of the folder; the message shows the layout.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, split: str = "test") -> None:
        birds = CUB(root, split, masks="segmentation")
        super().__init__(birds, Vocabulary.of({"object": ["bird"], "species": birds.classes}))

    def pixels(self, index: int, size: tuple[int, int]) -> Int[Tensor, "2 h w"]:
        """Bird and species where the bird is."""
        return self._of_object(index, size, [1, int(self.images.labels[index]) + 2])


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image, from the head of its file.

    Raises:
        DataError: missing, or not an image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError as error:
        raise DataError(f"there is no image {shown(path)}") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DataError(f"{shown(path)} is not an image: {error}") from error
