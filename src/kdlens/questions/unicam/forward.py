"""Forward passes for UniCAM: activations of two networks at many layers, each image through each network once."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import LayerShapeError
from kdlens.memory import in_portions, portion_size
from kdlens.models.device import device_of
from kdlens.models.layers import last_spatial_layer
from kdlens.models.taps import Recorder, record
from kdlens.models.tokens import to_feature_map
from kdlens.questions.unicam.maps import Features, Scene, Sight, check_places, vectors


class Reader:
    """Reads networks in portions, in one layout.

    Args:
        features: what is compared.
        reshape: how to lay out tokens in space where that is ambiguous.
        batch_size: images a pass.
    """

    def __init__(self, features: Features = "pooled", reshape: Any = None, batch_size: int | None = None) -> None:
        self.features = features
        self.reshape = reshape
        self.batch_size = batch_size

    def activations(self, model: nn.Module, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Activations at `layers` as `(n, C, h, w)`, or `(n, d)` where a layer has no places; one pass for all."""
        device = device_of(model)

        def read(part: slice) -> dict[str, Tensor]:
            x = images[part].to(device)
            _, found = record(model, x, layers)
            return {name: self.in_space(model, name, found[name], x) for name in layers}

        portions = in_portions(read, len(images), self.batch_size or portion_size(model, images))
        return {name: torch.cat([portion[name] for portion in portions]) for name in layers}

    def both(
        self, model: nn.Module, given: nn.Module | None, sample: tuple[Tensor, Tensor], layers: Mapping[str, str]
    ) -> dict[str, Scene]:
        """What both networks make of images and labels, for each pair of layers, by the first network's name."""
        images, labels = sample
        own = self.sights(model, images, list(layers))
        labels = labels.to(next(iter(own.values())).activation.device)
        if given is None:
            return {first: Scene(own[first], None, labels) for first in layers}
        other = self.sights(given, images, list(dict.fromkeys(layers.values())), labels.device)
        return {first: Scene(own[first], other[second], labels) for first, second in layers.items()}

    def sights(
        self, model: nn.Module, images: Tensor, layers: Sequence[str], device: torch.device | None = None
    ) -> dict[str, Sight]:
        """What a network makes of the images at each layer."""
        found = self.activations(model, images, layers)
        return {name: Sight(a if device is None else a.to(device), self.features, name) for name, a in found.items()}

    def pull_back(
        self, model: nn.Module, images: Tensor, gradient: Tensor, *, layer: str, feature_layer: str
    ) -> tuple[Float[Tensor, "n c"], Sight]:
        """The gradient with respect to features at `feature_layer`, taken back to `layer`.

        Returns:
            Spatial means of the gradient at `layer`, and what the network makes of the images there.
        """
        device = device_of(model)

        def pull(part: slice) -> tuple[Tensor, Tensor]:
            x = images[part].to(device)
            with torch.enable_grad(), Recorder(model, [layer, feature_layer], gradients=True) as taps:
                model(x)
                seen = vectors(self.in_space(model, feature_layer, taps[feature_layer], x), self.features)
                seen_there = self.in_space(model, layer, taps[layer].detach(), x)
                check_places(Sight(seen_there, layer=layer))
                (back,) = torch.autograd.grad(
                    seen, taps[layer], grad_outputs=gradient[part].to(seen), allow_unused=True
                )
            if back is None:
                raise LayerShapeError(f'layer "{layer}" does not lead to feature layer "{feature_layer}"; swap the two')
            return self.in_space(model, layer, back, x).mean((2, 3)), seen_there

        size = self.batch_size or portion_size(model, images, gradients=True)
        slopes, activations = zip(*in_portions(pull, len(images), size), strict=True)
        return torch.cat(slopes), Sight(torch.cat(activations), self.features, layer)

    def in_space(self, model: nn.Module, layer: str, activation: Tensor, images: Tensor) -> Tensor:
        """Tokens to feature maps; vectors stay vectors."""
        if activation.device.type == "mps":
            activation = activation.cpu()  # the statistics are in float64, which that device lacks
        if activation.ndim == 2:
            return activation
        size = (images.shape[2], images.shape[3])
        return to_feature_map(
            activation, batch=len(images), input_size=size, model=model, layer=layer, reshape=self.reshape
        )


def layer_of_given(given: nn.Module | None, wanted: str, example: Tensor) -> str:
    """The given network's layer of the same name, or its last spatial one."""
    if given is None:
        return ""
    if any(name == wanted for name, _ in given.named_modules()):
        return wanted
    return last_spatial_layer(given, example.to(device_of(given)))
