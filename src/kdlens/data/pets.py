"""The Oxford-IIIT pet dataset, with the animal as mask.

Source: Parkhi, Vedaldi, Zisserman and Jawahar, Cats and Dogs, CVPR 2012.
"""

import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

from jaxtyping import Bool
from torch import Tensor

from kdlens.data.files import folder_of, inside, one_of
from kdlens.data.lists import read_list
from kdlens.data.on_disk import IMAGENET_MEAN, IMAGENET_STD, OnDisk, label_image

_OBJECT, _BORDER = 1, 3  # 2 is background
_LISTS = {"train": "trainval", "trainval": "trainval", "test": "test", "all": "list"}
_LINE = re.compile(r"(\S+)\s+([1-9][0-9]?)\s+([12])\s+[0-9]+")
_LAYOUT = """Expected:
  images/Abyssinian_1.jpg ...
  annotations/list.txt  trainval.txt  test.txt  trimaps/Abyssinian_1.png ...
Get it from https://www.robots.ox.ac.uk/~vgg/data/pets/"""


class _Entry(NamedTuple):
    name: str
    breed: int
    species: int


class Pets(OnDisk):
    """Oxford-IIIT pets: 7,349 photographs of 37 breeds of cats and dogs, each with a trimap.

    Args:
        root: the folder that holds `images` and `annotations`.
        split: `"trainval"` (also called `"train"`), `"test"` or `"all"`.
        labels: `"breed"` (37 classes) or `"species"` (cat, dog).
        border: whether the trimaps' uncertain border counts as `"object"` or as `"background"`.

    Raises:
        DataError: something is missing, damaged or leads out of the folder; the message shows the layout.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "test",
        *,
        labels: Literal["breed", "species"] = "breed",
        border: Literal["object", "background"] = "object",
    ) -> None:
        one_of(split, tuple(_LISTS), "split", "pets")
        one_of(labels, ("breed", "species"), "labels", "pets")
        one_of(border, ("object", "background"), "border", "pets")
        annotations = f"annotations/{_LISTS[split]}.txt"
        folder = folder_of(root, ("images", annotations), _LAYOUT, "pets")
        self.folder, self.split, self.border = folder, split, border
        entries = _entries(folder / annotations)
        self.trimaps = [inside(folder / "annotations" / "trimaps", f"{entry.name}.png") for entry in entries]
        self._counted = (_OBJECT, _BORDER) if border == "object" else (_OBJECT,)
        if labels == "species":
            numbers, classes = [entry.species for entry in entries], ["cat", "dog"]
        else:
            numbers, classes = [entry.breed for entry in entries], _breeds(folder, entries)
        files = [inside(folder / "images", f"{entry.name}.jpg") for entry in entries]
        super().__init__(files, numbers, classes, name="pets", mean=IMAGENET_MEAN, std=IMAGENET_STD)

    def mask(self, index: int, size: tuple[int, int]) -> Bool[Tensor, "h w"] | None:
        """The animal, from its trimap; `None` if the dataset was unpacked without trimaps."""
        trimap = self.trimaps[index]
        if not trimap.parent.is_dir():
            return None
        values = label_image(trimap, size)
        mask = values == self._counted[0]
        for value in self._counted[1:]:
            mask |= values == value
        return mask


def _entries(path: Path) -> list[_Entry]:
    return read_list(path, _entry, "NAME BREED SPECIES NUMBER")


def _entry(line: str) -> _Entry | None:
    """A line `Abyssinian_100 1 1 1`: name, breed among all, species, breed within the species; counted from 1."""
    found = _LINE.fullmatch(line.strip())
    return _Entry(found[1], int(found[2]) - 1, int(found[3]) - 1) if found else None


def _breeds(folder: Path, entries: list[_Entry]) -> list[str]:
    """Names of the breeds, which only the names of the files tell; from the whole list where it is there."""
    path = folder / "annotations" / "list.txt"
    every = _entries(path) if path.is_file() else []
    names = {entry.breed: entry.name.rpartition("_")[0] for entry in [*every, *entries]}
    return [names.get(breed, f"breed {breed + 1}") for breed in range(max(names, default=-1) + 1)]
