"""Caltech-UCSD Birds 200-2011, with the bird (or its box) as mask.

Source: Wah, Branson, Welinder, Perona and Belongie, Caltech technical report CNS-TR-2011-001.
"""

import os
import re
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.data.files import folder_of, inside, one_of, shown
from kdlens.data.lists import read_list
from kdlens.data.on_disk import IMAGENET_MEAN, IMAGENET_STD, OnDisk, box_mask, label_image
from kdlens.errors import DataError

_LAYOUT = """Expected CUB_200_2011 (or the folder it lies in) with:
  images.txt  image_class_labels.txt  classes.txt  train_test_split.txt  bounding_boxes.txt
  images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg ...
and, for masks, segmentations/ in it or beside it.
Get both from https://www.vision.caltech.edu/datasets/cub_200_2011/"""
_NUMBER = re.compile("[0-9]{1,9}")
_LISTS = ("images", "image_class_labels", "classes", "train_test_split")


class CUB(OnDisk):
    """CUB-200-2011: 11,788 photographs of 200 species of birds.

    Args:
        root: `CUB_200_2011` or the folder it lies in.
        split: `"train"` (5,994), `"test"` (5,794) or `"all"`.
        masks: `"segmentation"` (what most of the five annotators marked), `"box"` or `"none"`; `"auto"` takes
            segmentations where they have been unpacked, and boxes otherwise.

    Attributes:
        boxes: `(n, 4)` left, top, right, bottom in pixels.
        masks: which masks are given.

    Raises:
        DataError: something is missing, damaged or leads out of the folder; the message shows the layout.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "test",
        *,
        masks: Literal["auto", "segmentation", "box", "none"] = "auto",
    ) -> None:
        one_of(split, ("train", "test", "all"), "split", "cub")
        one_of(masks, ("auto", "segmentation", "box", "none"), "masks", "cub")
        top = folder_of(root, (), _LAYOUT, "cub")
        top = top / "CUB_200_2011" if (top / "CUB_200_2011").is_dir() else top
        folder = folder_of(top, [f"{name}.txt" for name in _LISTS], _LAYOUT, "cub")
        self.folder, self.split = folder, split
        names = _column(folder / "images.txt")
        classes = _column(folder / "classes.txt")
        numbers = _numbers(folder / "image_class_labels.txt")
        training = _column(folder / "train_test_split.txt")
        wanted = [i for i in names if split == "all" or (training.get(i) == "1") == (split == "train")]
        _check(wanted, numbers, len(classes), folder)
        places = [path / "segmentations" for path in (folder, folder.parent)]
        self._segmentations = next((place for place in places if place.is_dir()), None)
        self.masks = masks if masks != "auto" else "segmentation" if self._segmentations else "box"
        if self.masks == "segmentation" and self._segmentations is None:
            raise DataError(f"cub: there is no folder segmentations in {shown(folder)} or beside it.\n{_LAYOUT}")
        self._names = [names[i] for i in wanted]
        self.boxes = _boxes(folder / "bounding_boxes.txt", wanted) if self.masks == "box" else None
        files = [inside(folder / "images", name) for name in self._names]
        labels = [numbers[i] for i in wanted]
        titles = [name.partition(".")[2].replace("_", " ") or name for name in classes.values()]
        super().__init__(files, labels, titles, name="cub", mean=IMAGENET_MEAN, std=IMAGENET_STD)

    def mask(self, index: int, size: tuple[int, int]) -> Bool[Tensor, "h w"] | None:
        """The bird, from its segmentation or its box."""
        if self.boxes is not None:
            left, top, right, bottom = self.boxes[index].tolist()
            return box_mask((left, top, right, bottom), size)
        if self.masks == "none" or self._segmentations is None:
            return None
        name = self._names[index].rpartition(".")[0] + ".png"
        return label_image(inside(self._segmentations, name), size) > 127


def _column(path: Path) -> dict[str, str]:
    """A list of `ID VALUE` lines."""
    return dict(read_list(path, _pair, "a number and a value"))


def _pair(line: str) -> tuple[str, str] | None:
    key, _, value = line.strip().partition(" ")
    return (key, value.strip()) if key.isdecimal() and value else None


def _numbers(path: Path) -> dict[str, int]:
    """Class of every image from 0; -1, which no class has, for what is no number."""
    return {image: int(number) - 1 if _NUMBER.fullmatch(number) else -1 for image, number in _column(path).items()}


def _check(wanted: list[str], numbers: dict[str, int], classes: int, folder: Path) -> None:
    for i in wanted:
        if not 0 <= numbers.get(i, -1) < classes:
            raise DataError(f"cub: image {i} has no class among the {classes} in {shown(folder)}")


def _boxes(path: Path, wanted: list[str]) -> Float[Tensor, "n 4"]:
    if not path.is_file():
        raise DataError(f"cub: there is no {shown(path)}.\n{_LAYOUT}")
    rows = _column(path)
    try:
        found = torch.tensor([[float(value) for value in rows[i].split()] for i in wanted]).reshape(-1, 4)
    except (KeyError, ValueError, RuntimeError) as error:
        raise DataError(f"{shown(path)} does not hold left, top, width and height for every image: {error}") from error
    found[:, 2:] += found[:, :2]
    return found
