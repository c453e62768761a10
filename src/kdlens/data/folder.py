"""Folders of images, one folder a class, with or without a folder for each split: ASIRRA, PlantVillage, your own."""

import logging
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from kdlens.data.files import folder_of, one_of, open_image, shown
from kdlens.data.on_disk import OnDisk
from kdlens.errors import DataError, did_you_mean

log = logging.getLogger("kdlens")

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
_SPLITS = {
    "train": ("train", "training", "Train"),
    "val": ("val", "valid", "validation", "Val"),
    "test": ("test", "testing", "Test"),
}
_SHAPE = "Expected one folder for each class in it: root/CLASS/*.jpg or root/SPLIT/CLASS/*.jpg"
_LAYOUT = """Expected one folder for each class, as in ASIRRA (PetImages/Cat/0.jpg) and PlantVillage
(Apple___healthy/a.JPG), or the same below a folder for each split (test/cat/0.jpg):
  root/CLASS/*.jpg      or      root/SPLIT/CLASS/*.jpg
ASIRRA: https://www.microsoft.com/en-us/download/details.aspx?id=54765
PlantVillage: https://github.com/spMohanty/PlantVillage-Dataset"""


class ImageFolder(OnDisk):
    """Images in one folder for each class; the classes are the folders in alphabetical order.

    A folder that holds nothing but one other folder (PetImages, PlantVillage) is looked into. Where there are folders
    for splits, the classes are those of all splits, so that a label means the same in each. Where there are none,
    `"test"` and `"all"` are all images, unless `holdout` divides them.

    Args:
        root: the folder.
        split: `"train"`, `"val"`, `"test"` or `"all"`.
        classes: names of the class folders to use, in the order of their labels; all by default.
        holdout: without split folders, the fraction of images that are `"test"`; the others are `"train"`. An image's
            file name decides, so adding images moves none.
        on_error: `"raise"` names an unreadable image when it is asked for; `"skip"` decodes all images once at the
            start and leaves unreadable ones out (`.skipped`).

    Attributes:
        skipped: the files left out.

    Raises:
        DataError: no such folder, no class folders, an unknown split or class, or a class without images.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "test",
        *,
        classes: Sequence[str] | None = None,
        holdout: float | None = None,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        one_of(on_error, ("raise", "skip"), "on_error", "folder")
        one_of(split, (*_SPLITS, "all"), "split", "folder")
        top = _unwrapped(folder_of(root, (), _SHAPE, "folder"))
        places, known = _places(top, split, holdout)
        names = _chosen(known, classes, top)
        found = [(file, label) for label, name in enumerate(names) for file in _images_of(places, name)]
        found = [(file, label) for file, label in found if _in_split(file, split, holdout)]
        self.skipped: list[Path] = []
        if on_error == "skip":
            found = [(file, label) for file, label in found if self._readable(file)]
        for label in sorted(set(range(len(names))) - {label for _, label in found}):
            raise DataError(f'folder: class "{names[label]}" has no images in split "{split}" of {shown(top)}')
        super().__init__([f for f, _ in found], [label for _, label in found], names, name=top.name or "folder")

    def _readable(self, file: Path) -> bool:
        try:
            open_image(file)
        except DataError as error:
            log.warning("left out: %s", error)
            self.skipped.append(file)
            return False
        return True


def _folders(folder: Path) -> list[Path]:
    """Folders in a folder, by name, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _has_images(folder: Path) -> bool:
    return any(_is_image(path) for path in folder.iterdir())


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _split_of(folder: Path) -> str | None:
    return next((split for split, names in _SPLITS.items() if folder.name in names), None)


def _unwrapped(folder: Path) -> Path:
    """Follow folders that hold only one folder, as archives unpack to, but never into a class."""
    while True:
        inner = _folders(folder)
        if len(inner) != 1 or _split_of(inner[0]) or _has_images(inner[0]) or not _folders(inner[0]):
            return folder
        folder = inner[0]


def _places(top: Path, split: str, holdout: float | None) -> tuple[list[Path], list[str]]:
    """Folders that hold the class folders of a split, and the names of all classes."""
    splits = {name: path for path in _folders(top) if (name := _split_of(path)) and not _has_images(path)}
    if not splits:
        _check_holdout(top, split, holdout)
        return [top], [path.name for path in _folders(top)]
    if holdout is not None:
        raise DataError(f"folder: {shown(top)} has folders for its splits ({', '.join(splits)}); leave out holdout")
    if split != "all" and split not in splits:
        raise DataError(f'folder: {shown(top)} has no split "{split}"; choose from {", ".join(splits)}, all')
    places = list(splits.values()) if split == "all" else [splits[split]]
    return places, sorted({path.name for place in splits.values() for path in _folders(place)})


def _check_holdout(top: Path, split: str, holdout: float | None) -> None:
    if holdout is not None and not 0 < holdout < 1:
        raise DataError(f"folder: holdout {holdout} is a fraction; it must lie between 0 and 1")
    if split == "val" or (split == "train" and holdout is None):
        raise DataError(
            f'folder: {shown(top)} has no folder for the split "{split}"; give holdout=0.2 for both "train" and "test" '
            'to divide the images, or split="all" to use every image'
        )


def _chosen(known: list[str], classes: Sequence[str] | None, top: Path) -> list[str]:
    if not known:
        raise DataError(f"folder: {shown(top)} holds no class folders.\n{_LAYOUT}")
    for name in classes or ():
        if name not in known:
            hint = did_you_mean(name, known) or f". Known: {', '.join(known[:20])}"
            raise DataError(f'folder: there is no class "{name}" in {shown(top)}{hint}')
    return list(known if classes is None else classes)


def _images_of(places: Sequence[Path], name: str) -> list[Path]:
    return [
        path
        for place in places
        if (place / name).is_dir()
        for path in sorted((place / name).rglob("*"))
        if _is_image(path)
    ]


def _in_split(file: Path, split: str, holdout: float | None) -> bool:
    if holdout is None or split == "all":
        return True
    held = zlib.crc32(os.fsencode(f"{file.parent.name}/{file.name}")) / 2**32 < holdout
    return held == (split == "test")
