"""What UniCAM can mean. A new protocol is one function and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from kdlens.errors import LayerShapeError
from kdlens.explain.unicam_forward import Reader
from kdlens.explain.unicam_maps import (
    Features,
    UniCAM,
    differences_of,
    finish,
    score_activations,
    unicam_from_activations,
    weigh,
)
from kdlens.registry import Registry


@dataclass(frozen=True)
class Request:
    """What was asked of `kdlens.unicam`; the fields are described there. `layer` and `given_layer` are resolved.

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


PROTOCOLS: Registry[Callable[[Request], UniCAM]] = Registry(
    "protocol",
    {"joint": "kdlens.explain.unicam_protocols:joint", "published": "kdlens.explain.unicam_protocols:published"},
    group="kdlens.protocols",
)


def published(request: Request) -> UniCAM:
    """The definition of the authors' code: gradient of R* through `model` alone, the given features held fixed."""
    if request.feature_layer not in (None, request.layer):
        return _through(request, str(request.feature_layer))
    reader, layers = Reader(request.reshape, request.batch_size), {request.layer: request.given_layer}
    seen = reader.both(request.model, request.given, (request.images, request.labels), layers)
    compared = (
        None
        if request.reference is None
        else reader.both(request.model, request.given, request.reference, layers)[request.layer]
    )
    return unicam_from_activations(
        seen[request.layer],
        size=(request.images.shape[2], request.images.shape[3]),
        reference=compared,
        features=request.features,
        layer=request.layer,
        given_layer=request.given_layer,
    )


def joint(request: Request) -> UniCAM:
    """Attribution through both networks; not here yet."""
    raise NotImplementedError(
        'protocol "joint" (attribution through both networks) is not available in this version; use '
        'protocol="published"'
    )


def _through(request: Request, feature_layer: str) -> UniCAM:
    """Features of a later layer compared, and the gradient taken back through the part of the network between."""
    reader, layers = Reader(request.reshape, request.batch_size), {feature_layer: request.given_layer}
    seen = reader.both(request.model, request.given, (request.images, request.labels), layers)[feature_layer]
    compared = (
        None
        if request.reference is None
        else reader.both(request.model, request.given, request.reference, layers)[feature_layer]
    )
    score, (own, others) = score_activations(seen, compared, request.features)
    gradient = differences_of(score, own, others)
    slope, activation = reader.pull_back(
        request.model,
        request.images,
        gradient,
        layer=request.layer,
        feature_layer=feature_layer,
        features=request.features,
    )
    if activation.ndim != 4:
        raise LayerShapeError(f'layer "{request.layer}" has no places: it gives {tuple(activation.shape)}')
    size = (request.images.shape[2], request.images.shape[3])
    raw = weigh(slope, activation)
    batch = request.reference is None
    return finish(raw, score, size, request.layer, request.given_layer, depends_on_batch=batch)
