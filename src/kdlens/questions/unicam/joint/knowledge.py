"""How much there is to see, and at which layer: R* and the unique fraction, which give the maps their weight."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.models.device import device_of
from kdlens.models.layers import auto_layers
from kdlens.questions.pairing import pair_layers
from kdlens.questions.unicam.forward import Reader, layer_of_given
from kdlens.questions.unicam.maps import Scene, Sight, score_scene
from kdlens.questions.unicam.score import FEWEST

if TYPE_CHECKING:
    from kdlens.questions.unicam.protocols import Request


class Compared(NamedTuple):
    """The comparison set: images and labels."""

    images: Float[Tensor, "m c h w"]
    labels: Int[Tensor, " m"]


class Knowledge(NamedTuple):
    """What `UniCAM` says of a pair of networks as a whole; the fields are described there."""

    relevance: float
    unique_fraction: float
    layer: str
    given_layer: str
    reason: str


def knowledge_of(request: "Request", compared: Compared) -> Knowledge:
    """R* and unique fraction on the comparison set, at the layer asked for or where the residual is most relevant."""
    pairs = _pairs(request, compared.images[:1])
    reader = Reader(request.features, request.reshape, request.batch_size)
    seen = reader.both(request.model, request.given, (compared.images, compared.labels), pairs)
    layer = most_relevant(seen) if len(seen) > 1 else next(iter(seen))
    score = score_scene(seen[layer], None)
    return Knowledge(score.relevance, score.unique_fraction, layer, pairs[layer], score.reason)


def most_relevant(seen: dict[str, Scene]) -> str:
    """The layer whose residual is most relevant to the label on images it was not chosen by.

    Each half of the images chooses a layer by its R* and the other half judges the choice; the better judged one wins.
    Where R* is defined at no layer, the last one is taken.
    """
    first = next(iter(seen.values()))
    n = len(first.labels)
    order = first.labels.argsort(stable=True)
    halves = [order[0::2], order[1::2]] if n >= 2 * FEWEST else [order, order]
    relevance = [{layer: _relevance(scene, half) for layer, scene in seen.items()} for half in halves]
    layers = list(seen)
    choices = [max(layers, key=lambda layer: (found[layer], layers.index(layer))) for found in relevance]
    judged = [relevance[1][choices[0]], relevance[0][choices[1]]]
    best = choices[0] if judged[0] >= judged[1] else choices[1]
    return best if max(judged) > -torch.inf else layers[-1]


def _pairs(request: "Request", example: Tensor) -> dict[str, str]:
    if request.layer != "auto":
        wanted = request.feature_layer or request.layer
        return {wanted: request.given_layer or layer_of_given(request.given, wanted, example)}
    layers = auto_layers(request.model, example.to(device_of(request.model)))
    if request.given is None:
        return dict.fromkeys(layers, "")
    if request.given_layer:
        return dict.fromkeys(layers, request.given_layer)
    return dict(pair_layers(layers, auto_layers(request.given, example.to(device_of(request.given)))))


def _relevance(scene: Scene, half: Tensor) -> float:
    """R* on some of the images; minus infinity where it is undefined."""
    part = Scene(_part(scene.model, half), _part(scene.given, half) if scene.given else None, scene.labels[half])
    score = score_scene(part, None)
    return -torch.inf if score.reason else score.relevance


def _part(sight: Sight, half: Tensor) -> Sight:
    return Sight(sight.activation[half], sight.features, sight.layer)
