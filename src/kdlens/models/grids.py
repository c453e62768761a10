"""Which of a tensor's axes may be the rows and columns of an image: the arithmetic behind maps and tokens."""

from dataclasses import dataclass

MOST_PREFIX_TOKENS = 17
"""Class token, distillation token, and up to 15 registers or prompts."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Grid:
    """Tokens as a grid: `prefix` extra tokens, then `height * width` tokens row by row."""

    height: int
    width: int
    prefix: int


def covers(size: Size, input_size: Size, *, slack: int = 2) -> bool:
    """Whether a map of `size` can be `input_size` divided by one stride, up to `slack` cells of padding or cropping.

    Example:
        >>> covers((7, 7), (224, 224)), covers((7, 10), (224, 320)), covers((56, 96), (224, 224))
        (True, True, False)
    """
    low, high = 0.0, float("inf")
    for cells, pixels in zip(size, input_size, strict=True):
        if cells > pixels:
            return False
        low = max(low, pixels / (cells + slack))
        high = min(high, pixels / max(cells - slack, 1e-9))
    return low <= high and _nearly_proportional(size, input_size)


def _nearly_proportional(size: Size, input_size: Size) -> bool:
    """Large maps must keep the aspect ratio; small ones are rounded too much to tell."""
    tall, wide = size[0] / input_size[0], size[1] / input_size[1]
    return abs(tall - wide) * min(input_size) <= 2 * max(1.0, min(input_size) / max(input_size) * 2)


def token_grids(tokens: int, input_size: Size, *, prefix: int | None = None) -> list[Grid]:
    """Return every grid that `tokens` can be for an image of `input_size`, the most plausible group only.

    A grid is the image divided by one patch size. Preferred, in this order: patches that divide the image and at most
    two extra tokens; patches that divide it and more extra tokens; patches that leave a rest.

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
        for grid, divides in _grids_of_patch(patch, input_size):
            extra = tokens - grid[0] * grid[1]
            if (extra == prefix) if prefix is not None else (0 <= extra <= MOST_PREFIX_TOKENS):
                (exact if divides else rounded).append(Grid(*grid, extra))
    few = [grid for grid in exact if grid.prefix <= 2]
    few_rounded = [grid for grid in rounded if grid.prefix <= 2]
    return _distinct(few or exact or few_rounded or rounded)


def _grids_of_patch(patch: int, input_size: Size) -> list[tuple[Size, bool]]:
    height, width = input_size
    down, up = (height // patch, width // patch), (-(-height // patch), -(-width // patch))
    return [(down, True)] if down == up else [(down, False), (up, False)]


def _distinct(grids: list[Grid]) -> list[Grid]:
    return list(dict.fromkeys(grids))
