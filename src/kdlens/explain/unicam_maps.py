"""UniCAM heat maps from activations: any number of layers and directions can share the forward passes."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.errors import ConfigError, LayerShapeError
from kdlens.explain.cam import published_scale, upsample
from kdlens.explain.unicam_score import Sample, Score, label_vectors, score_against, score_batch
from kdlens.stats.pairs import weighted_differences

Features = Literal["pooled", "flat"]
"""What is compared: the spatial mean of a layer, or every unit at every place."""


@dataclass(frozen=True, repr=False)
class UniCAM:
    """Heat maps of one network's unique features, and how much there is to see.

    Attributes:
        maps: `(n, H, W)` in [0, 1], each scaled to its own range as published: amplitudes are lost, so these maps
            cannot be compared between images, layers or directions. Zero where `degenerate`.
        raw: `(n, H, W)`, signed and unscaled: activation times gradient of the relevance, at input size. Comparable
            between images, layers and directions that share a comparison set.
        relevance: R*, distance correlation of the unique features with the labels; NaN where undefined.
        unique_fraction: share of the network's feature geometry that the given network does not have, in [0, 1]; 1
            where nothing is given.
        degenerate: `(n,)` bool, where a map is zero everywhere: no positive evidence, or the statistic is undefined.
        layer: the layer whose activations are weighted.
        given_layer: the layer of the given network.
        depends_on_batch: whether the images were compared with one another, so that a map changes with its companions.
        reason: why the statistic is undefined, or empty.
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

    def __repr__(self) -> str:
        note = f", reason={self.reason!r}" if self.reason else ""
        return (
            f"UniCAM(maps={tuple(self.maps.shape)}, layer={self.layer!r}, relevance={self.relevance:.4f}, "
            f"unique_fraction={self.unique_fraction:.4f}, degenerate={int(self.degenerate.sum())} of "
            f"{len(self.degenerate)}, depends_on_batch={self.depends_on_batch}{note})"
        )


class Activations(NamedTuple):
    """What two networks make of some images.

    `model` is `(n, C, h, w)`; `given` is `(n, C2, h2, w2)` or `(n, d)`, or None for the plain relevance map; `labels`
    are class indices `(n,)` or embeddings `(n, e)`.
    """

    model: Tensor
    given: Tensor | None
    labels: Tensor

    def swapped(self) -> "Activations":
        """The other direction.

        Raises:
            ValueError: there is no given network.
        """
        if self.given is None:
            raise ValueError("without a given network there is no other direction")
        return Activations(self.given, self.model, self.labels)


def unicam_from_activations(
    images: Activations,
    *,
    size: tuple[int, int],
    reference: Activations | None = None,
    features: Features = "pooled",
    layer: str = "",
    given_layer: str = "",
) -> UniCAM:
    """Maps of what `images.model` has beyond `images.given` about the labels, at one layer.

    The weight of channel k in image i is the spatial mean of dR*/dA_ik. As that gradient is a sum of differences of
    features, its spatial mean is the same sum of differences of *pooled* features: no backward pass is needed.

    Args:
        images: activations of the images to explain.
        size: height and width of the network's input.
        reference: activations of the comparison set; None compares the images with one another, as published.
        features: compare pooled or flattened features.
        layer: for the result.
        given_layer: for the result.

    Raises:
        StatisticsError: fewer than 4 images to compare with, or activations that are not finite.
        LayerShapeError: `images.model` is not `(n, C, h, w)`.

    Example:
        >>> a, b = torch.rand(8, 4, 3, 3), torch.rand(8, 6, 3, 3)
        >>> unicam_from_activations(Activations(a, b, torch.arange(8) % 2), size=(12, 12)).maps.shape
        torch.Size([8, 12, 12])

    Source: Adhane et al., WACV 2025, Algorithm 1, with the objective of its published code.
    """
    if images.model.ndim != 4:
        raise LayerShapeError(f'layer "{layer}" gives {tuple(images.model.shape)}; a heat map needs (n, C, h, w)')
    score, _ = score_activations(images, reference, features)
    compared = images.model if reference is None else reference.model
    weights = differences_of(score, images.model.mean((2, 3)), compared.mean((2, 3)))
    if features == "pooled":
        weights = weights / images.model[0, 0].numel()
    return finish(weigh(weights, images.model), score, size, layer, given_layer, depends_on_batch=reference is None)


def score_activations(
    images: Activations, reference: Activations | None, features: Features
) -> tuple[Score, tuple[Tensor, Tensor]]:
    """The score, and the features of the images and of what they are compared with."""
    if features not in get_args(Features):
        raise ConfigError(f'features must be "pooled" or "flat", got "{features}"')
    if reference is None:
        sample = _sample(images, label_vectors(images.labels)[0], features)
        return score_batch(sample), (sample.features, sample.features)
    labels, reference_labels = label_vectors(images.labels, reference.labels.to(images.labels.device))
    sample = _sample(images, labels, features)
    compared = _sample(reference, reference_labels, features)
    return score_against(sample, compared), (sample.features, compared.features)


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
    raw: Tensor, score: Score, size: tuple[int, int], layer: str, given_layer: str, *, depends_on_batch: bool
) -> UniCAM:
    """Signed maps at the layer's resolution to the result."""
    maps = published_scale(raw, size)
    return UniCAM(
        maps=maps,
        raw=upsample(raw, size),
        relevance=score.relevance,
        unique_fraction=score.unique_fraction,
        degenerate=maps.amax((1, 2)) <= 0,
        layer=layer,
        given_layer=given_layer,
        depends_on_batch=depends_on_batch,
        reason=score.reason,
    )


def _sample(activations: Activations, labels: Tensor, features: Features) -> Sample:
    given = None if activations.given is None else vectors(activations.given, features)
    return Sample(vectors(activations.model, features), given, labels)
