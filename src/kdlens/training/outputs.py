"""What networks in training give: logits, and the activations a method reads."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from kdlens.errors import ModelError
from kdlens.models.nested import first_tensor
from kdlens.models.taps import Tap


def logits_of(output: Any, role: str) -> Tensor:
    """Return the logits `(n, K)` in a network's output: the output, or its first tensor.

    Raises:
        ModelError: there are none.

    Example:
        >>> import torch
        >>> logits_of((torch.zeros(2, 3), "more"), "student").shape
        torch.Size([2, 3])
    """
    logits = first_tensor(output)
    if logits is None or logits.dim() != 2 or not logits.is_floating_point():
        found = type(output).__name__ if logits is None else f"{logits.dtype} of shape {tuple(logits.shape)}"
        raise ModelError(f"the {role} must give logits (images, classes); it gives {found}")
    return logits


class Reader:
    """Runs a network as it is and reads layers beside its logits. Hooks stay until `close`.

    Args:
        network: teacher or student.
        role: for error messages.
        layers: dotted names.
        spatial: bring every activation, tokens included, to the form `(n, C, h, w)`.

    Raises:
        LayerNotFoundError: the network has no such layer.
    """

    def __init__(self, network: nn.Module, role: str, layers: Sequence[str], *, spatial: bool = False) -> None:
        self._network, self._role, self._layers, self._spatial = network, role, tuple(layers), spatial
        self._tap = Tap(network, layers) if layers else None
        if self._tap is not None:
            self._tap.__enter__()

    def close(self) -> None:
        """Take the hooks away."""
        if self._tap is not None:
            self._tap.__exit__()

    def __call__(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return logits, and the activations in the order of the layers.

        Raises:
            LayerShapeError: a layer did not run or ran several times, or gives no map where one is needed.
        """
        logits = logits_of(self._network(images), self._role)
        if self._tap is None:
            return logits, ()
        found = tuple(self._tap[layer] for layer in self._layers)
        return logits, tuple(map(self._as_map, found, self._layers, [images] * len(found))) if self._spatial else found

    def _as_map(self, activation: Tensor, layer: str, images: Tensor) -> Tensor:
        from kdlens.models.tokens import to_feature_map

        size = (int(images.shape[2]), int(images.shape[3]))
        return to_feature_map(activation, batch=len(images), input_size=size, model=self._network, layer=layer)
