"""Windowed attention (Swin and its kin): tokens in windows back to one map, the cyclic shift undone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kdlens.models.grids import USUAL_STRIDES, Size


@dataclass(frozen=True)
class Windows:
    """How a map is cut into windows.

    Attributes:
        rows: windows from top to bottom.
        columns: windows from left to right.
        window: height and width of a window, in tokens.
        shift: by how much the map was rolled up and left before it was cut.
        size: height and width of the map before it was padded to whole windows.
    """

    rows: int
    columns: int
    window: Size
    shift: Size
    size: Size


def from_windows(x: Tensor, batch: int, windows: Windows) -> Tensor:
    """Put windows `(n * rows * columns, t, C)` together to a map `(n, C, h, w)`.

    Example:
        >>> import torch
        >>> whole = Windows(rows=1, columns=1, window=(2, 2), shift=(1, 0), size=(2, 2))
        >>> from_windows(torch.tensor([[[0.0], [1.0], [2.0], [3.0]]]), 1, whole)
        tensor([[[[2., 3.],
                  [0., 1.]]]])
    """
    height, width = windows.window
    x = x.reshape(batch, windows.rows, windows.columns, height, width, -1)
    x = x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
    x = x[:, :, : windows.size[0], : windows.size[1]]
    return x.roll(windows.shift, dims=(2, 3))


def window_rule(network: nn.Module, layer: str, tokens: int, windows: int, image: Size) -> Windows | None:
    """Read from the block around `layer` how its windows are cut; None where no block says so.

    A block says it by attributes `window_size` and, where windows are shifted, `shift_size`.

    Args:
        network: the bare network.
        layer: dotted name of a layer inside the block.
        tokens: tokens of a window.
        windows: windows of an image.
        image: height and width of the image.
    """
    around = list(_around(network, layer))
    block = next((b for b in around if _pair(getattr(b, "window_size", None), tokens)), None)
    window = _pair(getattr(block, "window_size", None), tokens)
    size = _map_size(windows, window, image, around) if window is not None else None
    if window is None or size is None:
        return None
    shifts = [b.shift_size for b in around if getattr(b, "shift_size", None) is not None]
    rows, columns = _cut(size, window)
    return Windows(rows, columns, window, _two(shifts[0]) if shifts else (0, 0), size)


def _around(network: nn.Module, layer: str) -> Iterator[Any]:
    """The layer, then the modules around it, from inside out."""
    parts = layer.split(".")
    for end in range(len(parts), 0, -1):
        yield network.get_submodule(".".join(parts[:end]))


def _two(value: Any) -> Size:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _pair(value: Any, tokens: int) -> Size | None:
    """The window size as two numbers if it is one of `tokens` tokens."""
    try:
        height, width = _two(value)
    except (TypeError, ValueError, IndexError):
        return None
    return (height, width) if height * width == tokens else None


def _cut(size: Size, window: Size) -> Size:
    return -(-size[0] // window[0]), -(-size[1] // window[1])


def _map_size(windows: int, window: Size, image: Size, around: list[Any]) -> Size | None:
    """The map size, the image divided by a stride, that is cut into that many windows; None where it is in doubt.

    What a block says comes first, then usual strides, then maps that need no padding.
    """
    strides = [s for s in range(1, min(image) + 1) if image[0] % s == 0 and image[1] % s == 0]
    fits = {s: size for s in strides if math.prod(_cut(size := (image[0] // s, image[1] // s), window)) == windows}
    told = {_two(b.input_resolution) for b in around if getattr(b, "input_resolution", None) is not None}
    for wanted in (
        lambda stride, size: size in told,
        lambda stride, size: stride in USUAL_STRIDES,
        lambda stride, size: size[0] % window[0] == 0 and size[1] % window[1] == 0,
    ):
        fits = {s: size for s, size in fits.items() if wanted(s, size)} or fits
    return next(iter(fits.values())) if len(fits) == 1 else None
