"""Which cells of the grid are the object: from masks of pixels, or by a rule for centred crops."""

from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from kdlens.errors import ConfigError, DataError

Rule = Literal["half", "nearest"]
Cells = int | tuple[int, int]

SMALLEST_CELL = 2
"""Pixels a side of a cell that `choose_grid` still takes."""

PUBLISHED_GRID = 16
_LEAST_GRID = 6


def on_grid(masks: Bool[Tensor, "n h w"], cells: Cells, *, rule: Rule = "half") -> Bool[Tensor, "n gh gw"]:
    """Bring masks of pixels onto the grid of cells.

    A pixel belongs to the cell that nearest-neighbour enlargement of the grid gives it, so that cells of sides that the
    grid does not divide differ by a pixel.

    Args:
        masks: True on the object.
        cells: rows and columns of the grid; one number for both.
        rule: `"half"`: a cell is the object's if at least half of its pixels are; an object too small for that has the
            cells it fills most. `"nearest"`: the cell is what the mask is at one pixel of it, as published; thin and
            small objects may vanish.

    Raises:
        DataError: masks that are not `(n, H, W)` bool, or smaller than the grid.
        ConfigError: an unknown rule.

    Example:
        >>> mask = torch.zeros(1, 4, 4, dtype=torch.bool)
        >>> mask[0, :3, :2] = True
        >>> on_grid(mask, 2).int().tolist()
        [[[1, 0], [1, 0]]]
        >>> on_grid(mask, (4, 2), rule="nearest").int().tolist()
        [[[1, 0], [1, 0], [1, 0], [0, 0]]]
    """
    height, width = pair(cells)
    if masks.ndim != 3 or masks.dtype != torch.bool:
        raise DataError(f"masks must be (n, H, W) bool, got {tuple(masks.shape)} {masks.dtype}")
    if height > masks.shape[1] or width > masks.shape[2]:
        raise DataError(f"masks of {_by(masks.shape[1:])} pixels are smaller than a grid of {height} x {width} cells")
    if rule == "nearest":
        rows, columns = (torch.arange(n) * side // n for n, side in zip((height, width), masks.shape[1:], strict=True))
        return masks[:, rows][:, :, columns]
    if rule != "half":
        raise ConfigError(f'rule must be "half" or "nearest", got "{rule}"')
    rows, columns = cell_of(masks.shape[1], height), cell_of(masks.shape[2], width)
    filled = torch.zeros(len(masks), height, masks.shape[2], dtype=torch.float64)
    filled.index_add_(1, rows, masks.double().cpu())
    filled = torch.zeros(len(masks), height, width, dtype=torch.float64).index_add_(2, columns, filled)
    share = filled / (rows.bincount(minlength=height)[:, None] * columns.bincount(minlength=width))
    fullest = (share == share.amax((1, 2), keepdim=True)) & (share > 0)
    half = share >= 0.5
    return torch.where(half.any(2).any(1)[:, None, None], half, fullest)


def centre(n: int, cells: Cells) -> Bool[Tensor, "n gh gw"]:
    """The rule for crops around the object without masks: all cells but an eighth of the grid on every side.

    With 16 x 16 cells these are rows and columns 2 to 13, as published for crops of 1.5 times the object's box.

    Raises:
        ConfigError: a grid of fewer than 3 cells a side, which has no inside.

    Example:
        >>> centre(1, 4)[0].int().tolist()
        [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
        >>> int(centre(1, 16).sum())
        144
    """
    height, width = pair(cells)
    if min(height, width) < 3:
        raise ConfigError(f"the rule for centred crops needs at least 3 x 3 cells, got {height} x {width}")
    inside = [_inside(side) for side in (height, width)]
    return (inside[0][:, None] & inside[1]).expand(n, height, width).clone()


def as_foreground(given: Tensor, size: tuple[int, int], cells: tuple[int, int]) -> Bool[Tensor, "n gh gw"]:
    """Foreground on the grid, from masks of pixels or of cells.

    Args:
        given: `(n, H, W)` or `(n, gh, gw)`; above 0 on the object.
        size: H and W of the images.
        cells: gh and gw of the grid.

    Raises:
        DataError: masks of another size.

    Example:
        >>> as_foreground(torch.ones(2, 32, 32), (32, 32), (8, 8)).shape
        torch.Size([2, 8, 8])
    """
    if given.ndim != 3 or tuple(given.shape[1:]) not in (size, cells):
        raise DataError(
            f"foreground must be (n, H, W) of the images, {_by(size)} pixels, or of the grid, {_by(cells)} cells; got "
            f"{tuple(given.shape)}; resize the masks with the images"
        )
    masks = given.detach().cpu() > 0
    return masks if tuple(given.shape[1:]) == cells else on_grid(masks, cells)


def choose_grid(height: int, width: int) -> int:
    """Cells a side: the published 16 where the image is large enough, fewer for small images.

    Cells of one size are wanted, because a cell of more pixels has more to lose: the largest count up to 16 that
    divides both sides into cells of at least 2 pixels; where that leaves fewer than 6, the sides are divided unevenly.

    Example:
        >>> [choose_grid(side, side) for side in (28, 32, 33, 64, 224, 227)]
        [14, 16, 11, 16, 16, 16]
    """
    most = min(PUBLISHED_GRID, min(height, width) // SMALLEST_CELL)
    even = [cells for cells in range(_LEAST_GRID, most + 1) if height % cells == 0 and width % cells == 0]
    return even[-1] if even else max(1, most)


def uneven(size: tuple[int, int], cells: tuple[int, int]) -> float:
    """Pixels of the largest cell over those of the smallest.

    Example:
        >>> uneven((32, 32), (8, 8)), round(uneven((227, 227), (16, 16)), 3)
        (1.0, 1.148)
    """
    counts = [cell_of(side, n).bincount(minlength=n) for side, n in zip(size, cells, strict=True)]
    largest, smallest = (counts[0].max() * counts[1].max(), counts[0].min() * counts[1].min())
    return float(largest / smallest)


def cell_of(side: int, cells: int) -> Tensor:
    """The cell of every pixel along a side, as nearest-neighbour enlargement has it."""
    return torch.arange(side) * cells // side


def pair(cells: Cells) -> tuple[int, int]:
    """Rows and columns of a grid.

    Raises:
        ConfigError: fewer than one.
    """
    height, width = (cells, cells) if isinstance(cells, int) else cells
    if min(height, width) < 1:
        raise ConfigError(f"a grid has at least 1 x 1 cells, got {height} x {width}")
    return height, width


def _inside(side: int) -> Tensor:
    margin = max(1, round(side / 8))
    at = torch.arange(side)
    return (at >= margin) & (at < side - margin)


def _by(size: "torch.Size | tuple[int, ...]") -> str:
    return " x ".join(str(side) for side in size)
