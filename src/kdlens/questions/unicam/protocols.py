"""What UniCAM can mean. A new protocol is one function and one line here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from kdlens.models.device import device_of
from kdlens.models.layers import last_spatial_layer
from kdlens.questions.unicam.forward import Reader, layer_of_given
from kdlens.questions.unicam.maps import (
    Features,
    Scene,
    UniCAM,
    differences_of,
    finish,
    score_scene,
    unicam_from_activations,
    weigh,
)
from kdlens.registry import Registry


@dataclass(frozen=True)
class Request:
    """What was asked of `kdlens.unicam`; the fields are described there. `layer` may be `"auto"`, `given_layer` empty.

    `given_layer` is the layer of `given` whose features are compared with those at `feature_layer or layer`.
    """

    model: nn.Module
    given: nn.Module | None
    images: Tensor
    labels: Tensor
    layer: str
    given_layer: str
    reference: tuple[Tensor, Tensor] | None
    features: Features
    feature_layer: str | None
    reshape: Any
    batch_size: int | None
    seed: int
    attribution: str = "gradients"
    null: Sequence[tuple[nn.Module, nn.Module]] = ()


PROTOCOLS: Registry[Callable[[Request], UniCAM]] = Registry(
    "protocol",
    {
        "joint": "kdlens.questions.unicam.joint.protocol:joint",
        "published": "kdlens.questions.unicam.protocols:published",
    },
    group="kdlens.protocols",
)


def published(request: Request) -> UniCAM:
    """The definition of the authors' code: gradient of R* through `model` alone, the given features held fixed."""
    request = _resolved(request)
    if request.feature_layer not in (None, request.layer):
        return _through(request, str(request.feature_layer))
    images, reference = _scenes(request, request.layer)
    return unicam_from_activations(images, size=_size(request), reference=reference)


def _resolved(request: Request) -> Request:
    """The request with its layers named."""
    example = request.images[:1]
    layer = request.layer
    if layer == "auto":
        layer = last_spatial_layer(request.model, example.to(device_of(request.model)))
    given = request.given_layer or layer_of_given(request.given, request.feature_layer or layer, example)
    return replace(request, layer=layer, given_layer=given)


def _through(request: Request, feature_layer: str) -> UniCAM:
    """Features of a later layer compared, and the gradient taken back through the part of the network between."""
    images, reference = _scenes(request, feature_layer)
    score = score_scene(images, reference)
    compared = images if reference is None else reference
    gradient = differences_of(score, images.model.space.vectors, compared.model.space.vectors)
    slope, seen = _reader(request).pull_back(
        request.model, request.images, gradient, layer=request.layer, feature_layer=feature_layer
    )
    raw = weigh(slope, seen.activation)
    return finish(raw, score, images._replace(model=seen), _size(request), depends_on_batch=reference is None)


def _scenes(request: Request, layer: str) -> tuple[Scene, Scene | None]:
    """The images and the reference, as both networks see them."""
    reader, layers = _reader(request), {layer: request.given_layer}
    images = reader.both(request.model, request.given, (request.images, request.labels), layers)[layer]
    if request.reference is None:
        return images, None
    return images, reader.both(request.model, request.given, request.reference, layers)[layer]


def _reader(request: Request) -> Reader:
    return Reader(request.features, request.reshape, request.batch_size)


def _size(request: Request) -> tuple[int, int]:
    return (request.images.shape[2], request.images.shape[3])
