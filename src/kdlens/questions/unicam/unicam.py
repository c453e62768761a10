"""UniCAM: where a network looks for what another network does not know."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from kdlens.errors import DataError, StatisticsError
from kdlens.models.device import device_of
from kdlens.models.layers import auto_layers
from kdlens.questions.unicam.forward import Reader
from kdlens.questions.unicam.joint.forms import Attribution
from kdlens.questions.unicam.maps import Features, Scene, UniCAM, unicam_from_activations
from kdlens.questions.unicam.protocols import PROTOCOLS, Request

FEWEST_IMAGES = 4
"""The statistic is 0 / 0 for fewer."""

ENOUGH_IMAGES = 8
"""Below this the statistic's spread under independence is larger than most effects."""


def unicam(
    model: nn.Module,
    given: nn.Module | None,
    images: Float[Tensor, "n c H W"],
    labels: Shaped[Tensor, "n ..."],
    *,
    layer: str = "auto",
    given_layer: str | None = None,
    reference: tuple[Tensor, Tensor] | None = None,
    protocol: str = "joint",
    attribution: Attribution = "gradients",
    null: Sequence[tuple[nn.Module, nn.Module]] = (),
    features: Features = "pooled",
    feature_layer: str | None = None,
    reshape: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> UniCAM:
    """Heat maps of what `model` has learned about the labels that `given` has not.

    Distilled features are `unicam(student, baseline, ...)`, residual features `unicam(baseline, student, ...)`.

    Args:
        model: the network to explain; comes back as it was.
        given: the network whose knowledge is taken out, or None for the plain relevance map of `model`.
        images: as the networks take them.
        labels: class indices `(n,)`; for the published protocol also one embedding an image `(n, e)`. With two classes
            all embeddings are alike.
        layer: joint: layer at which R* and the unique fraction are measured; the maps need none. `"auto"` takes the one
            whose residual is most relevant, cross-validated. Published: layer whose activations make the map; `"auto"`
            takes the last spatial one.
        given_layer: layer of `given` to compare with; by default the same name, or its last spatial layer.
        reference: images and labels of the comparison set. Without it the images are compared with one another, and an
            image's map changes with its companions.
        protocol: `"joint"`, evidence for the label that `given` lacks, traced back through both networks; or
            `"published"`, the definition of the authors' code.
        attribution: of the joint protocol: `"gradients"`, fast, or `"occlusion"`, slow and trusted.
        null: of the joint protocol: pairs of networks that were trained alike, such as baselines of two seeds. Their
            maps show how large maps are by chance; without them that is read off maps for labels of other images.
        features: compare `"pooled"` features (spatial means) or `"flat"` ones (every place counts).
        feature_layer: a later layer whose features are compared, the gradient taken back to `layer`.
        reshape: how to lay out tokens in space where that is ambiguous; see `kdlens.models.tokens`.
        batch_size: images a forward pass; does not change the result.
        seed: of what the joint protocol draws; the published one draws nothing.

    Warns:
        UserWarning: fewer than 8 images to compare with; or the statistic is undefined (one class, identical networks,
            constant features): then every map is zero and marked `degenerate`.

    Raises:
        StatisticsError: fewer than 4 images to compare with, or features that are not finite.
        LayerNotFoundError: no such layer.
        LayerShapeError: a layer without places, such as a linear one.
        DataError: images or labels of a wrong shape.
        UnknownNameError: no such protocol.

    Example:
        >>> import torch
        >>> from kdlens.models.load import load_model
        >>> student, baseline = load_model("resnet8"), load_model("resnet8")
        >>> result = unicam(student, baseline, torch.rand(8, 3, 32, 32), torch.arange(8) % 2)
        >>> result.maps.shape, result.depends_on_batch, result.band.source
        (torch.Size([8, 32, 32]), True, 'labels of other images')

    Source: joint: this package. Published: Adhane et al., WACV 2025, section 3.1; the
    objective R* is that of the published code (after Zhen et al., ECCV 2022), since the paper's class score of "unique
    features" is not defined.
    """
    carry_out = PROTOCOLS[protocol]
    _check(images, labels, reference)
    result = carry_out(
        Request(
            *(model, given, images, labels, layer, given_layer or "", reference, features, feature_layer),
            *(reshape, batch_size, seed, attribution, tuple(null)),
        )
    )
    if result.reason:
        what = "UniCAM is undefined, all maps are zero" if result.protocol == "published" else "R* is undefined"
        warnings.warn(f"{what}: {result.reason}", UserWarning, stacklevel=2)
    return result


class Directions(NamedTuple):
    """Both directions at one layer: what the first network has beyond the second, and the reverse."""

    distilled: UniCAM
    residual: UniCAM


def unicam_layers(
    student: nn.Module,
    baseline: nn.Module,
    images: Float[Tensor, "n c H W"],
    labels: Shaped[Tensor, "n ..."],
    *,
    layers: Sequence[str] | Mapping[str, str] | None = None,
    reference: tuple[Tensor, Tensor] | None = None,
    features: Features = "pooled",
    reshape: Any = None,
    batch_size: int | None = None,
) -> dict[str, Directions]:
    """Maps of both directions at several layers from one forward pass of each network.

    Args:
        student: the first network.
        baseline: the second network.
        images: as the networks take them.
        labels: class indices or embeddings.
        layers: names in both networks, or student's name -> baseline's name; by default the student's stages.
        reference: comparison set; see `unicam`.
        features: see `unicam`.
        reshape: see `unicam`.
        batch_size: images a forward pass; does not change the result.

    Raises:
        KdlensError: as `unicam`.

    Example:
        >>> import torch
        >>> from kdlens.models.load import load_model
        >>> student, baseline = load_model("resnet8"), load_model("resnet8")
        >>> list(unicam_layers(student, baseline, torch.rand(8, 3, 32, 32), torch.arange(8) % 2))
        ['layer1', 'layer2', 'layer3']
    """
    _check(images, labels, reference)
    if layers is None:
        layers = auto_layers(student, images[:1].to(device_of(student)))
    pairs = dict(layers) if isinstance(layers, Mapping) else {name: name for name in layers}
    reader = Reader(features, reshape, batch_size)
    seen = reader.both(student, baseline, (images, labels), pairs)
    compared = {} if reference is None else reader.both(student, baseline, reference, pairs)
    size = (images.shape[2], images.shape[3])
    return {name: both_directions(scene, size=size, reference=compared.get(name)) for name, scene in seen.items()}


def both_directions(images: Scene, *, size: tuple[int, int], reference: Scene | None = None) -> Directions:
    """Distilled and residual maps of a student (`images.model`) and a baseline (`images.given`)."""
    return Directions(
        unicam_from_activations(images, size=size, reference=reference),
        unicam_from_activations(images.swapped(), size=size, reference=reference and reference.swapped()),
    )


def _check(images: Tensor, labels: Tensor, reference: tuple[Tensor, Tensor] | None) -> None:
    for what, (x, y) in {"images": (images, labels), "reference": reference or (images, labels)}.items():
        if x.ndim != 4 or len(x) == 0:
            raise DataError(f"{what} must be a batch (n, C, H, W) with at least one image, got {tuple(x.shape)}")
        if len(x) != len(y):
            raise DataError(f"{what}: {len(x)} images but {len(y)} labels")
    compared = images if reference is None else reference[0]
    advice = "" if reference else "; give a comparison set with reference=(images, labels)"
    if len(compared) < FEWEST_IMAGES:
        raise StatisticsError(f"UniCAM compares at least {FEWEST_IMAGES} images, got {len(compared)}{advice}")
    if len(compared) < ENOUGH_IMAGES:
        warnings.warn(
            f"UniCAM on {len(compared)} images is mostly noise; compare at least {ENOUGH_IMAGES}, better 128{advice}",
            UserWarning,
            stacklevel=3,
        )
