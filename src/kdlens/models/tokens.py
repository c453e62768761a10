"""Activations of any layer as maps `(n, C, h, w)`: channels-last maps, tokens in a row, tokens in windows.

A form is chosen by itself only where there is one that fits the image; otherwise the error says what was seen and how
to say what is meant.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import LayerShapeError
from kdlens.models.grids import Grid, Size, covers, token_grids
from kdlens.models.windows import Windows, from_windows, window_rule
from kdlens.models.wrappers import unwrap

Reshape = Callable[[Tensor], Tensor] | tuple[int, int]


def to_feature_map(
    activation: Tensor,
    *,
    batch: int,
    input_size: Size,
    model: nn.Module | None = None,
    layer: str = "",
    reshape: Reshape | None = None,
) -> Float[Tensor, "n c h w"]:
    """Bring the activation of a layer into the form `(n, C, h, w)`.

    Taken as they are: maps `(n, C, h, w)`. Turned: channels-last maps `(n, h, w, C)` (Swin); tokens `(n, t, C)` (ViT),
    whose first tokens (class, distillation, registers) are left out; tokens with the batch second `(t, n, C)`; windows
    `(n * windows, t, C)` inside windowed attention, whose shift is undone as the block around the layer says.

    Args:
        activation: what the layer gave.
        batch: number of images n.
        input_size: height and width of the images.
        model: the network, asked where shapes alone leave a doubt, and needed for windows.
        layer: dotted name of the layer, for the same and for error messages.
        reshape: say it yourself: `(h, w)` for tokens (the last `h * w` are the grid), or a function from the activation
            to `(n, C, h, w)`.

    Raises:
        LayerShapeError: the activation is no map, or could be read in more than one way.

    Example:
        >>> import torch
        >>> to_feature_map(torch.zeros(2, 197, 384), batch=2, input_size=(224, 224)).shape
        torch.Size([2, 384, 14, 14])
    """
    seen = _Seen(activation, batch, input_size, model, layer)
    if reshape is not None:
        return _checked(_as_told(activation, reshape, seen), seen)
    if activation.ndim == 4:
        return _checked(_from_four_axes(activation, seen), seen)
    if activation.ndim == 3:
        return _checked(_from_tokens(activation, seen), seen)
    raise seen.error("has no rows and columns; a map (n, C, h, w) or tokens (n, t, C) are needed")


class _Seen:
    """What is known of the activation, and how to complain about it."""

    def __init__(self, activation: Tensor, batch: int, size: Size, model: nn.Module | None, layer: str) -> None:
        self.shape = tuple(activation.shape)
        self.batch = batch
        self.size = size
        self.network = unwrap(model) if model is not None else None
        self.layer = layer.partition("#")[0]

    def error(self, what: str, *, advice: str = "") -> LayerShapeError:
        name = f'layer "{self.layer}"' if self.layer else "the layer"
        return LayerShapeError(
            f"{name} gives {self.shape} for {self.batch} images of {self.size[0]} x {self.size[1]}, which {what}. "
            + (advice or 'Choose a layer that gives a map, as "kdlens layers MODEL" lists them')
        )

    def doubt(self, what: str) -> LayerShapeError:
        return self.error(
            what,
            advice="Say what is meant: reshape=(h, w) for the grid of tokens, or reshape=function giving (n, C, h, w)",
        )

    def modules(self) -> list[nn.Module]:
        """The layer and what is in it, if the network is known."""
        if self.network is None or not self.layer:
            return []
        return list(self.network.get_submodule(self.layer).modules())


def _checked(x: Tensor, seen: _Seen) -> Tensor:
    if x.ndim != 4 or x.shape[0] != seen.batch:
        raise seen.error(f"became {tuple(x.shape)}; ({seen.batch}, C, h, w) was expected", advice="Check `reshape`")
    if x.shape[2] * x.shape[3] == 1:
        raise seen.error("has a single cell, so it says nothing about places")
    return x


def _as_told(x: Tensor, reshape: Reshape, seen: _Seen) -> Tensor:
    if callable(reshape):
        return reshape(x)
    height, width = reshape
    if x.ndim != 3 or x.shape[0] != seen.batch or x.shape[1] < height * width:
        raise seen.error(f"cannot be {height} x {width} tokens", advice="Check `reshape`")
    return _grid_of(x, Grid(height, width, x.shape[1] - height * width))


def _grid_of(x: Tensor, grid: Grid) -> Tensor:
    return x[:, grid.prefix :].transpose(1, 2).unflatten(2, (grid.height, grid.width))


def _from_four_axes(x: Tensor, seen: _Seen) -> Tensor:
    n, a, b, c = x.shape
    if n != seen.batch:
        windows = _windows(seen, a * b, n)
        if windows is not None and a == b:
            return from_windows(x.flatten(1, 2), seen.batch, windows)
        raise seen.doubt("has another number of images")
    first, last = covers((b, c), seen.size), covers((a, b), seen.size)
    if first and last:  # as many channels as rows
        last = _works_on_last_axis(seen)
        first = not last
    if _is_attention(x, seen):
        raise seen.doubt("looks like attention from tokens to tokens")
    if not first and not last:
        if b * c == 1 or _convolves(seen):
            return x
        raise seen.doubt("fits the image neither as (n, C, h, w) nor as (n, h, w, C)")
    return x if first else x.permute(0, 3, 1, 2)


def _is_attention(x: Tensor, seen: _Seen) -> bool:
    """`(n, heads, t, t)` with t tokens of the image: a square that no stride makes of the image."""
    rows, columns = x.shape[2:]
    by_stride = covers((rows, columns), seen.size, extra=0)
    return rows == columns and not by_stride and bool(token_grids(rows, seen.size)) and not _convolves(seen)


def _convolves(seen: _Seen) -> bool:
    kinds = (
        nn.Conv2d,
        nn.ConvTranspose2d,
        nn.BatchNorm2d,
        nn.GroupNorm,
        nn.MaxPool2d,
        nn.AvgPool2d,
        nn.AdaptiveAvgPool2d,
    )
    return any(isinstance(module, kinds) for module in seen.modules())


def _works_on_last_axis(seen: _Seen) -> bool:
    return not _convolves(seen) and any(isinstance(module, nn.Linear | nn.LayerNorm) for module in seen.modules())


def _from_tokens(x: Tensor, seen: _Seen) -> Tensor:
    if x.shape[0] == x.shape[1] == seen.batch:
        x = x.transpose(0, 1) if _batch_second(seen) else x
    elif x.shape[1] == seen.batch:
        x = x.transpose(0, 1)
    elif x.shape[0] != seen.batch:
        windows = _windows(seen, x.shape[1], x.shape[0])
        if windows is None:
            raise seen.doubt("has another number of images, and no block around the layer says how windows are cut")
        return from_windows(x, seen.batch, windows)
    return _grid_of(x, _token_grid(x.shape[1], seen))


def _token_grid(tokens: int, seen: _Seen) -> Grid:
    prefix = _known_prefix(seen)
    grids = token_grids(tokens, seen.size, prefix=prefix) if prefix is not None else []
    grids = grids or token_grids(tokens, seen.size)
    if len(grids) == 1:
        return grids[0]
    if not grids:
        raise seen.doubt(f"holds {tokens} tokens that make no grid of the image")
    ways = " or ".join(f"{grid.height} x {grid.width} + {grid.prefix} extra" for grid in grids)
    raise seen.doubt(f"holds {tokens} tokens that make more than one grid of the image ({ways})")


def _known_prefix(seen: _Seen) -> int | None:
    if seen.network is None:
        return None
    holders: list[Any] = [module for module in seen.network.modules() if hasattr(module, "num_prefix_tokens")]
    found = {int(holder.num_prefix_tokens) for holder in holders}
    return found.pop() if len(found) == 1 else None


def _batch_second(seen: _Seen) -> bool:
    """As many tokens as images: torch's own attention says which axis is which; otherwise nobody does."""
    modules = list(seen.network.modules()) if seen.network is not None else []
    orders = {module.batch_first for module in modules if isinstance(module, nn.MultiheadAttention)}
    if len(orders) == 1:
        return not orders.pop()
    if seen.network is None:
        raise seen.doubt("has as many tokens as images, so either axis may be the images")
    return False


def _windows(seen: _Seen, tokens: int, count: int) -> Windows | None:
    if seen.network is None or not seen.layer or count % seen.batch:
        return None
    return window_rule(seen.network, seen.layer, tokens, count // seen.batch, seen.size)
