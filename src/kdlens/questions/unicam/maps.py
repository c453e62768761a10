"""UniCAM heat maps from activations: any number of layers and directions can share the forward passes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.errors import ConfigError, LayerShapeError
from kdlens.questions.unicam.cam import published_scale, upsample
from kdlens.questions.unicam.joint.band import Band
from kdlens.questions.unicam.score import Sample, Score, Space, label_vectors, score_against, score_batch
from kdlens.stats.pairs import weighted_differences

Features = Literal["pooled", "flat"]
"""What is compared: the spatial mean of a layer, or every unit at every place."""


@dataclass(frozen=True, repr=False)
class UniCAM:
    """Heat maps of one network's unique features, and how much there is to see.

    Attributes:
        maps: `(n, H, W)` in [0, 1]. Joint: positive evidence beyond the null band, all images on one scale. Published:
            each scaled to its own range, so that amplitudes are lost and maps cannot be compared between images, layers
            or directions. Zero where `degenerate`.
        raw: `(n, H, W)`, signed and unscaled. Joint: nats of calibrated evidence a pixel, positive where the network
            has evidence that the given one has not, negative where the given one has. Published: activation times
            gradient of the relevance. Comparable between images and directions that share a comparison set.
        relevance: R*, distance correlation of the unique features with the labels; NaN where undefined.
        unique_fraction: share of the network's feature geometry that the given network does not have, in [0, 1]; 1
            where nothing is given.
        degenerate: `(n,)` bool, where a map is zero everywhere: no positive evidence, or the statistic is undefined.
        layer: the layer whose activations are weighted.
        given_layer: the layer of the given network.
        depends_on_batch: whether the images were compared with one another, so that a map changes with its companions.
        reason: why the statistic is undefined, or empty.
        protocol: `"published"` or `"joint"`. What follows is of the joint protocol alone.
        own: `(n, H, W)` evidence of the network alone, in nats a pixel.
        other: `(n, H, W)` evidence of the given network alone, on the same scale. `raw` is drawn from the difference of
            what the two maps are drawn from; with gradients its sum is the difference of their sums.
        band: what maps show by chance, and what that was measured on; `raw` within `band.pixel` is cut from `maps`.
        scale: nats a pixel that are 1 in `maps`, one scale for all images.
        in_band: `(n,)` bool, where a whole map shows no more than null maps do.
        confidence: `(n, H, W)`, share of resampled comparison sets under which the pixel keeps its sign.
    """

    maps: Float[Tensor, "n H W"]
    raw: Float[Tensor, "n H W"]
    relevance: float
    unique_fraction: float
    degenerate: Bool[Tensor, " n"]
    layer: str
    given_layer: str
    depends_on_batch: bool
    reason: str = ""
    protocol: str = "published"
    own: Float[Tensor, "n H W"] | None = None
    other: Float[Tensor, "n H W"] | None = None
    band: Band | None = None
    scale: float | None = None
    in_band: Bool[Tensor, " n"] | None = None
    confidence: Float[Tensor, "n H W"] | None = None

    def __repr__(self) -> str:
        note = f", reason={self.reason!r}" if self.reason else ""
        return (
            f"UniCAM(maps={tuple(self.maps.shape)}, layer={self.layer!r}, relevance={self.relevance:.4f}, "
            f"unique_fraction={self.unique_fraction:.4f}, degenerate={int(self.degenerate.sum())} of "
            f"{len(self.degenerate)}, depends_on_batch={self.depends_on_batch}, protocol={self.protocol!r}{note})"
        )

    def _repr_html_(self) -> str:
        from kdlens.report.maps_card import maps_card  # drawing sits beside questions; only a call may reach over

        return maps_card(self)


class Sight:
    """Some images as one network sees them at one layer; what is derived from that is computed once.

    Args:
        activation: `(n, C, h, w)`, or `(n, d)` where the layer has no places.
        features: what is compared of it.
        layer: name of the layer.
    """

    def __init__(self, activation: Tensor, features: Features = "pooled", layer: str = "") -> None:
        if features not in get_args(Features):
            raise ConfigError(f'features must be "pooled" or "flat", got "{features}"')
        self.activation = activation
        self.features = features
        self.layer = layer

    @cached_property
    def space(self) -> Space:
        """The features, and the distances among the images."""
        return Space(vectors(self.activation, self.features))

    @cached_property
    def pooled(self) -> Float[Tensor, "n c"]:
        """Spatial means."""
        return vectors(self.activation, "pooled")

    @property
    def places(self) -> int:
        """Number of places a channel has."""
        return self.activation[0, 0].numel()


class Scene(NamedTuple):
    """Some images as two networks see them, and their labels: class indices `(n,)` or embeddings `(n, e)`.

    Without a given network the maps are those of the plain relevance of `model`.
    """

    model: Sight
    given: Sight | None
    labels: Tensor

    def swapped(self) -> "Scene":
        """The other direction.

        Raises:
            ValueError: there is no given network.
        """
        if self.given is None:
            raise ValueError("without a given network there is no other direction")
        return Scene(self.given, self.model, self.labels)


def unicam_from_activations(images: Scene, *, size: tuple[int, int], reference: Scene | None = None) -> UniCAM:
    """Maps of what `images.model` has beyond `images.given` about the labels, at one layer.

    The weight of channel k in image i is the spatial mean of dR*/dA_ik. As that gradient is a sum of differences of
    features, its spatial mean is the same sum of differences of *pooled* features: no backward pass is needed.

    Args:
        images: the images to explain.
        size: height and width of the network's input.
        reference: the comparison set; None compares the images with one another, as published.

    Raises:
        StatisticsError: fewer than 4 images to compare with, or activations that are not finite.
        LayerShapeError: the activation of `images.model` is not `(n, C, h, w)`.

    Example:
        >>> student, baseline = Sight(torch.rand(8, 4, 3, 3)), Sight(torch.rand(8, 6, 3, 3))
        >>> unicam_from_activations(Scene(student, baseline, torch.arange(8) % 2), size=(12, 12)).maps.shape
        torch.Size([8, 12, 12])

    Source: Adhane et al., WACV 2025, Algorithm 1, with the objective of its published code.
    """
    seen = images.model
    check_places(seen)
    score = score_scene(images, reference)
    compared = seen if reference is None else reference.model
    weights = differences_of(score, seen.pooled, compared.pooled)
    if seen.features == "pooled":
        weights = weights / seen.places
    return finish(weigh(weights, seen.activation), score, images, size, depends_on_batch=reference is None)


def check_places(seen: Sight) -> None:
    """Refuse a layer that has no places to show."""
    if seen.activation.ndim != 4:
        shape = tuple(seen.activation.shape)
        raise LayerShapeError(f'layer "{seen.layer}" gives {shape}; a heat map needs (n, C, h, w)')


def score_scene(images: Scene, reference: Scene | None) -> Score:
    """Score of the images among themselves, or of each alone against the reference."""
    if reference is None:
        return score_batch(_sample(images, Space(label_vectors(images.labels)[0])))
    labels, compared = label_vectors(images.labels, reference.labels.to(images.labels.device))
    return score_against(_sample(images, Space(labels)), _sample(reference, Space(compared)))


def vectors(activation: Tensor, features: Features) -> Float[Tensor, "n d"]:
    """One vector an image; what has no places (n, d) is taken as it is.

    Example:
        >>> vectors(torch.ones(2, 5, 3, 3), "pooled").shape, vectors(torch.ones(2, 5, 3, 3), "flat").shape
        (torch.Size([2, 5]), torch.Size([2, 45]))
    """
    if activation.ndim == 4 and features == "pooled":
        return activation.mean((2, 3))
    return activation.flatten(1)


def differences_of(score: Score, features: Tensor, compared: Tensor) -> Tensor:
    """Sum over j of w_ij (features_i - compared_j), `(n, d)` float64 or the features' own dtype."""
    return weighted_differences(score.weights[None], features.double()[None], compared[None])[0]


def weigh(weights: Float[Tensor, "n c"], activation: Float[Tensor, "n c h w"]) -> Float[Tensor, "n h w"]:
    """Sum of an image's channels under its weights, in float32 at least."""
    kind = torch.promote_types(activation.dtype, torch.float32)
    return torch.einsum("nc,nchw->nhw", weights.to(kind), activation.to(kind))


def finish(
    raw: Float[Tensor, "n h w"], score: Score, images: Scene, size: tuple[int, int], *, depends_on_batch: bool
) -> UniCAM:
    """Signed maps at the layer's resolution to the result."""
    maps = published_scale(raw, size)
    return UniCAM(
        maps=maps,
        raw=upsample(raw, size),
        relevance=score.relevance,
        unique_fraction=score.unique_fraction,
        degenerate=maps.amax((1, 2)) <= 0,
        layer=images.model.layer,
        given_layer=images.given.layer if images.given else "",
        depends_on_batch=depends_on_batch,
        reason=score.reason,
    )


def _sample(scene: Scene, labels: Space) -> Sample:
    return Sample(scene.model.space, scene.given.space if scene.given else None, labels)
