"""Which of a tensor's axes may be the rows and columns of an image: the arithmetic behind maps and tokens."""

from dataclasses import dataclass

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


def covers(size: Size, input_size: Size) -> bool:
    """Whether a map of `size` can be an image of `input_size` divided by one stride in both directions.

    Padding may add one cell to a side, unpadded convolutions may have taken up to four, the same in both directions.

    Example:
        >>> covers((7, 7), (224, 224)), covers((7, 10), (224, 320)), covers((56, 96), (224, 224))
        (True, True, False)
    """
    (height, width), (rows, columns) = input_size, size
    if not (0 < rows <= height and 0 < columns <= width):
        return False
    least = max(height / (rows + 4), width / (columns + 4))
    most = min(height / max(rows - 1, 1e-9), width / max(columns - 1, 1e-9))
    if height == width or least > most:
        return rows == columns and least <= most
    differences = sorted((height - width) / stride for stride in (least, most))
    return differences[0] - 1 <= rows - columns <= differences[1] + 1


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
