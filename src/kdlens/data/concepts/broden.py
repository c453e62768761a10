"""Broden, the data set of Network Dissection, or any folder in its format.

Source: Bau, Zhou, Khosla, Oliva and Torralba, Network Dissection: Quantifying Interpretability of Deep Visual
Representations, CVPR 2017.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.data.concepts.annotated import Annotation, fingerprint_of, nothing
from kdlens.data.concepts.broden_words import read_words
from kdlens.data.concepts.tables import Row, Table, read_table
from kdlens.data.files import folder_of, inside, open_image, shown
from kdlens.data.on_disk import IMAGENET_MEAN, IMAGENET_STD
from kdlens.errors import DataError

NETDISSECT_MEAN, NETDISSECT_STD = (0.4889808, 0.4654498, 0.4295639), (0.224, 0.224, 0.224)
"""Normalisation of the published code: less (124.6901, 118.6897, 109.5388), over 0.224 * 255."""

_LONGEST_SIDE = 4096  # of a mask; Broden's have 112, 113 or 192
_LAYOUT = """Expected, as in broden1_224:
  index.csv   image,split,ih,iw,sh,sw, and a column for each category
  label.csv   category.csv   c_object.csv  c_part.csv ... one for each category
  images/ade20k/*.jpg  images/ade20k/*_object.png ...
Get it from http://netdissect.csail.mit.edu/data/broden1_224.zip, or write data of your own with
kdlens.data.concepts.write_broden"""


class _Entry(NamedTuple):
    """A row of the index: its image, the size of its masks, and the cells of the chosen categories."""

    row: Row
    image: str
    size: tuple[int, int]
    cells: tuple[str, ...]


class Broden:
    """A folder in Broden's format, read exactly. Images without a label in any chosen category are left out.

    A mask's pixel is the label `red + 256 * green`; a category may have several masks of an image. Where all of a
    category's items are numbers they are labels of the whole image; numbers beside masks become masks that are full.
    Opening reads tables alone; images and masks are read when asked for, and files of other categories never.

    Args:
        root: the folder that holds `index.csv`.
        categories: names of the categories to use; all of `category.csv` by default. Their order is that file's.
        index: name of the list, e.g. `"index_sm.csv"` for a part.

    Attributes:
        vocabulary: categories and labels.
        files: file of each image.

    Raises:
        DataError: a table is missing or malformed, or there is no such category.
    """

    name = "broden"
    mean: tuple[float, ...] | None = IMAGENET_MEAN
    std: tuple[float, ...] | None = IMAGENET_STD

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        categories: Sequence[str] | None = None,
        index: str = "index.csv",
    ) -> None:
        self.folder = folder_of(root, (index, "label.csv", "category.csv", "images"), _LAYOUT, self.name)
        self.vocabulary = read_words(self.folder, categories)
        columns = ("image", "sh", "sw", *self.vocabulary.categories)
        self._table = read_table(inside(self.folder, index), columns)
        self._entries = [entry for row in self._table.rows if (entry := _entry(self._table, row))]
        if not self._entries:
            chosen = shown(", ".join(self.vocabulary.categories))
            raise DataError(f"broden: no image in {shown(self._table.path)} has a label in {chosen}")

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Broden({str(self.folder)!r}, {len(self):,} images, {', '.join(self.vocabulary.categories)})"

    @property
    def files(self) -> list[Path]:
        """The file of each image."""
        return [self._file(entry, entry.image) for entry in self._entries]

    def image(self, index: int) -> Float[Tensor, "3 h w"]:
        """One image in [0, 1]; grey ones are given three channels.

        Raises:
            DataError: it cannot be read, or its name leads out of the folder.
        """
        entry = self._entry(index)
        with _at(self._table, entry):
            pixels = np.array(open_image(self._file(entry, entry.image)))
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float() / 255

    def annotation(self, index: int) -> Annotation:
        """What is known of one image.

        Raises:
            DataError: a mask is missing or of another size, or a label is not in label.csv.
        """
        entry = self._entry(index)
        channels: list[Int[np.ndarray, "h w"]] = []
        whole: list[int] = []
        with _at(self._table, entry):
            for cell in entry.cells:
                items = [item.strip() for item in cell.split(";") if item.strip()]
                if all(_is_number(item) for item in items):
                    whole += [self._known(int(item)) for item in items]
                else:
                    channels += [self._channel(entry, item) for item in items]
        if not channels:
            return Annotation(nothing(*entry.size), tuple(whole))
        return Annotation(torch.from_numpy(np.stack(channels)), tuple(whole))

    def fingerprint(self) -> str:
        """SHA-256 over the vocabulary, the rows of the index, and a sample of images and masks."""
        return fingerprint_of(self, [entry[1:] for entry in self._entries])

    def _entry(self, index: int) -> _Entry:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} images; there is no image {index}")
        return self._entries[index]

    def _file(self, entry: _Entry, name: str) -> Path:
        return inside(self.folder / "images", name)

    def _channel(self, entry: _Entry, item: str) -> Int[np.ndarray, "h w"]:
        if _is_number(item):
            return np.full(entry.size, self._known(int(item)), dtype=np.int32)
        path = self._file(entry, item)
        values = label_channel(path, entry.size)
        found = np.flatnonzero(np.bincount(values.ravel())).tolist()
        for number in found[1:] if found[0] == 0 else found:
            if not self._is_known(number):
                self._known(number, f"{shown(path)} holds ")
        return values

    def _is_known(self, number: int) -> bool:
        names = self.vocabulary.names
        return 0 < number < len(names) and names[number] != ""

    def _known(self, number: int, told: str = "") -> int:
        if not self._is_known(number):
            raise DataError(f"{told}label {number}, which label.csv does not have")
        return number


def label_channel(path: Path, size: tuple[int, int]) -> Int[np.ndarray, "h w"]:
    """Read a mask of height and width `size`: labels `red + 256 * green`, `(h, w)` int32.

    Raises:
        DataError: it cannot be read, is of another size, or has blue, which masks have not.
    """
    image = open_image(path)
    if (image.height, image.width) != size:
        raise DataError(f"{shown(path)} is {image.height} x {image.width}; sh and sw are {size[0]} x {size[1]}")
    pixels = np.array(image)
    if pixels[:, :, 2].any():
        raise DataError(f"{shown(path)} has blue pixels; expected labels written as red + 256 * green, with blue 0")
    return pixels[:, :, 0] + 256 * pixels[:, :, 1].astype(np.int32)  # a byte would overflow in the product


def _entry(table: Table, row: Row) -> _Entry | None:
    """The row as an entry; None where no chosen category has an item."""
    image, *sides = row.cells[:3]
    cells = row.cells[3:]
    if not any(cells):
        return None
    for side in sides:
        if not _is_number(side) or not 1 <= int(side) <= _LONGEST_SIDE:
            raise DataError(
                f'{table.where(row)} has the sh and sw "{shown(", ".join(sides))}"; expected height and width of the '
                f"masks, from 1 to {_LONGEST_SIDE}"
            )
    if not image:
        raise DataError(f"{table.where(row)} names no image")
    return _Entry(row, image, (int(sides[0]), int(sides[1])), cells)


def _is_number(item: str) -> bool:
    return item.isascii() and item.isdecimal() and len(item) < 9


@contextlib.contextmanager
def _at(table: Table, entry: _Entry) -> Iterator[None]:
    """Tell file and row of what goes wrong with an entry."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{table.where(entry.row)} ({shown(entry.image)}): {error}") from error
