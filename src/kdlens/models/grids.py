"""Which of a tensor's axes may be the rows and columns of an image: the arithmetic behind maps and tokens."""

from dataclasses import dataclass
from functools import cache

MOST_PREFIX_TOKENS = 17
"""Class token, distillation token, and up to 15 registers or prompts; at most an eighth of the grid."""

USUAL_STRIDES = (2, 4, 7, 8, 14, 16, 28, 32)
"""Patch sizes and strides that networks have; others are believed only where they divide the image."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """Tokens as a grid: `prefix` extra tokens, then `height * width` tokens row by row."""

    height: int
    width: int
    prefix: int


@cache
def covers(size: Size, input_size: Size, *, extra: int = 1) -> bool:
    """Whether a map of `size` can be an image of `input_size` divided by one whole stride in both directions.

    Padding may add `extra` cells to a side; unpadded convolutions may have taken up to four, or a tenth, the same in
    both directions.

    Example:
        >>> covers((7, 7), (224, 224)), covers((7, 10), (224, 320)), covers((56, 96), (224, 224))
        (True, True, False)
    """
    (height, width), (rows, columns) = input_size, size
    if not (0 < rows <= height and 0 < columns <= width) or (height == width and rows != columns):
        return False
    return any(_made_by(stride, size, input_size, extra) for stride in range(1, max(input_size) + 1))


def _made_by(stride: int, size: Size, input_size: Size, extra: int) -> bool:
    whole = [pixels / stride for pixels in input_size]
    added = [cells - wanted for cells, wanted in zip(size, whole, strict=True)]
    least = -max(4.0, min(whole) / 10)
    return all(least <= more < 1 + extra for more in added) and abs(added[0] - added[1]) <= 1


def token_grids(tokens: int, input_size: Size, *, prefix: int | None = None) -> list[Grid]:
    """Return every grid that `tokens` can be for an image of `input_size`, the most plausible group only.

    A grid is the image divided by one patch size. Preferred, in this order: patches that divide the image and at most
    two extra tokens; patches that divide it and more extra tokens; usual patches that leave a rest, and at most two.

    Args:
        tokens: number of tokens.
        input_size: height and width of the image.
        prefix: number of extra tokens if known; else 0 to `MOST_PREFIX_TOKENS` are tried.

    Example:
        >>> token_grids(197, (224, 224))
        [Grid(height=14, width=14, prefix=1)]
    """
    exact: list[Grid] = []
    rounded: list[Grid] = []
    for patch in range(1, min(input_size) // 2 + 1):
        for size in _grids_of_patch(patch, input_size):
            divides = (size[0] * patch, size[1] * patch) == input_size
            grid = Grid(*size, tokens - size[0] * size[1])
            if not _plausible(grid, prefix):
                continue
            if divides:
                exact.append(grid)
            elif patch in USUAL_STRIDES and grid.prefix <= 2:
                rounded.append(grid)
    few = [grid for grid in exact if grid.prefix <= 2]
    return list(dict.fromkeys(few or exact or rounded))


def _plausible(grid: Grid, prefix: int | None) -> bool:
    if prefix is not None:
        return grid.prefix == prefix
    return 0 <= grid.prefix <= max(2, min(MOST_PREFIX_TOKENS, grid.height * grid.width // 8))


def _grids_of_patch(patch: int, input_size: Size) -> set[Size]:
    height, width = input_size
    return {(height // patch, width // patch), (-(-height // patch), -(-width // patch))}
