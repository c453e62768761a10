"""The feature of one layer as a function of the input, with the forward pass cut off behind the layer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from kdlens.errors import LayerShapeError
from kdlens.models.layers import resolve, split_call
from kdlens.models.nested import first_tensor
from kdlens.models.state import undisturbed
from kdlens.models.wrappers import unwrap


class _Reached(Exception):  # noqa: N818 - no error: how a forward pass is left early
    """The layer has been called; what follows is not needed."""


@contextmanager
def upto(model: nn.Module, layer: str) -> Iterator[Callable[[Tensor], Tensor]]:
    """Give the function from an input to a layer's activation; the rest of the network is not run.

    Inside the block the network is in eval mode with frozen parameters and gradients on, so that the activation can be
    differentiated with respect to the input; afterwards it is as it was found.

    Args:
        model: any network, wrapped or not.
        layer: dotted name; `name#k` for the k-th call (from 0) of a re-used module, the first one where none is named.

    Raises:
        LayerNotFoundError: the network has no such layer.
        LayerShapeError: (on calling) the layer is not called or gives no tensor.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(7, 2))
        >>> with upto(net, "1") as feature:  # the last two layers, which do not fit, are never run
        ...     feature(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 4, 6, 6])
    """
    name, call = split_call(model, layer)
    found: list[Any] = []
    wanted = call or 0

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
        found.append(output)
        if len(found) > wanted:
            raise _Reached

    def feature(x: Tensor) -> Tensor:
        found.clear()
        try:
            unwrap(model)(x)
        except Exception:
            if len(found) <= wanted:
                raise
        if len(found) <= wanted:
            raise LayerShapeError(
                f'layer "{layer}" is not called in the forward pass of {type(unwrap(model)).__name__}, so it has no '
                "activation; choose one that is (kdlens layers MODEL lists them)"
            )
        activation = first_tensor(found[wanted])
        if activation is None:
            raise LayerShapeError(f'layer "{layer}" gives no tensor, so it has no activation; choose another layer')
        return activation

    with undisturbed(model, gradients=True):
        handle = resolve(model, name).register_forward_hook(keep)
        try:
            yield feature
        finally:
            handle.remove()
            found.clear()
