"""cells: coloured cells on three backgrounds, with a truth map of where the object is and where its class can be told.

After the description of the images of Tjoa and Guan (arXiv 2009.02899); rendered by code of our own.
"""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from kdlens.data.cell_shapes import BACKGROUNDS, CELL_CLASSES, draw_cell
from kdlens.data.files import one_of
from kdlens.data.items import Item
from kdlens.errors import DataError

_SPLITS = ("train", "test")
_COUNTS = {"train": 5000, "test": 1000}
_SMALLEST = 32
_CACHE_BYTES = 512 * 1024**2
_LEVELS = torch.tensor([0.0, 0.4, 0.9])


class Cells:
    """Cells of ten classes that only a part of each tells apart, so that it is known where a heat map should be hot.

    Classes: a ball, a ball with a bar, with a cross; a rectangle with a red, green, blue border; a ball with 1, 3, 8
    tails; nothing. They take turns. Backgrounds are black, smooth colour noise or a radial wave, whatever the class.
    Cell i depends on the seed, the split and i alone: not on the count.

    Where this is not the published generator: the centre is drawn so that the whole cell stays in the picture (there,
    a single tail can fall outside); the colours of balls are free; sizes are given as shares of the side, so that small
    pictures show the same.

    Args:
        split: `"train"` or `"test"`.
        size: side length in pixels; 512 in the paper.
        seed: of everything random.
        count: number of cells; 5,000 and 1,000 by default.

    Attributes:
        classes: class names.
        labels: `(n,)` int64.
        background_names: names for `backgrounds`.

    Raises:
        DataError: an option is out of its range.

    Example:
        >>> data = Cells("test", count=20)
        >>> data.classes[data[7].label], data.truth(7).unique().tolist()
        ('ball, 3 tails', [0.0, 0.4000000059604645, 0.8999999761581421])
        >>> bool((data[7].mask == (data.truth(7) > 0)).all())
        True
    """

    name = "cells"
    mean = (0.26, 0.26, 0.26)
    std = (0.24, 0.24, 0.24)
    background_names: ClassVar[list[str]] = list(BACKGROUNDS)

    def __init__(self, split: str = "test", *, size: int = 64, seed: int = 0, count: int | None = None) -> None:
        one_of(split, _SPLITS, "split", self.name)
        if size < _SMALLEST:
            raise DataError(f"cells: size {size} is too small to show tails; use at least {_SMALLEST}")
        if count is not None and count < 1:
            raise DataError(f"cells: cannot make {count} cells; ask for at least one")
        self.split, self.size, self.seed = split, size, seed
        self.classes = list(CELL_CLASSES)
        self.labels = torch.arange(_COUNTS[split] if count is None else count) % len(self.classes)
        self._drawn: dict[int, tuple[UInt8[Tensor, "3 h w"], UInt8[Tensor, "h w"]]] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        image, levels = self._draw(index)
        return Item(image.float() / 255, int(self.labels[index]), levels > 0)

    def gather(
        self, indices: Int[Tensor, " m"]
    ) -> tuple[Float[Tensor, "m 3 h w"], Int[Tensor, " m"], Bool[Tensor, "m h w"]]:
        """Many items at once: images in [0, 1], labels, masks of the cells."""
        drawn = [self._draw(index) for index in torch.as_tensor(indices).tolist()]
        if not drawn:
            empty = torch.empty(0, 3, self.size, self.size)
            return empty, self.labels[:0], empty[:, 0] > 0
        return (
            torch.stack([image for image, _ in drawn]).float() / 255,
            self.labels[indices],
            torch.stack([levels for _, levels in drawn]) > 0,
        )

    def truth(self, index: int) -> Float[Tensor, "h w"]:
        """Truth map of one cell: 0 outside, 0.4 on the cell, 0.9 where its class can be told."""
        return _LEVELS[self._draw(index)[1].long()]

    def truths(self, indices: Int[Tensor, " m"]) -> Float[Tensor, "m h w"]:
        """Truth maps of many cells, as `kdlens.measures.five_band` takes them."""
        return torch.stack([self.truth(index) for index in torch.as_tensor(indices).tolist()])

    def background(self, index: int) -> str:
        """Name of the background of one cell."""
        return draw_cell(self._place(index), int(self.labels[index]), _SMALLEST).background

    def _draw(self, index: int) -> tuple[UInt8[Tensor, "3 h w"], UInt8[Tensor, "h w"]]:
        place = self._place(index)
        if index in self._drawn:
            return self._drawn[index]
        cell = draw_cell(place, int(self.labels[index]), self.size)
        drawn = torch.from_numpy(cell.image), torch.from_numpy(cell.levels)
        if len(self) * 4 * self.size**2 <= _CACHE_BYTES:
            self._drawn[index] = drawn
        return drawn

    def _place(self, index: int) -> tuple[int, ...]:
        """What the random numbers of a cell come from."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} cells; there is no cell {index}")
        return abs(self.seed), int(self.seed < 0), _SPLITS.index(self.split), index
