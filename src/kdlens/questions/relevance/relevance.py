"""FSS and RS: is the student like another network, and is it about the task? Layer by layer.

FSS (feature similarity score) is the distance correlation of two networks' features on the same images; RS (relevance
score) is that of one network's features and the labels. Distilled RS takes out of the student what the baseline has,
R*((student | baseline), labels); residual RS is the reverse.

Source: Adhane et al., WACV 2025, section 3.2, eqs. 8 and 9, bias-corrected after Szekely and Rizzo (2014).
"""

import warnings
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from kdlens.errors import DataError
from kdlens.models.device import device_of
from kdlens.models.layers import auto_layers
from kdlens.questions.pairing import pair_layers
from kdlens.questions.relevance.features import (
    ENOUGH_IMAGES,
    FEWEST_IMAGES,
    Distances,
    label_distances,
    layer_distances,
    network_reader,
)
from kdlens.questions.relevance.kept import shown
from kdlens.questions.relevance.layer_scores import LayerScores
from kdlens.questions.relevance.scores import Aggregate, Plan, Score, defined, relevance_score, similarity_score
from kdlens.questions.road import Recipe
from kdlens.stats.pairs import distances

Layers = Literal["auto"] | Sequence[str]


def feature_similarity(
    model: nn.Module,
    other: nn.Module,
    images: Float[Tensor, "n c h w"],
    *,
    layers: Layers = "auto",
    other_layers: Layers = "auto",
    aggregate: Aggregate = "pooled",
    mini_batch: int = 32,
    unbiased: bool = True,
    permutations: int = 500,
    batch_size: int | None = None,
    seed: int = 0,
    maps: Float[Tensor, "n h w"] | None = None,
    other_maps: Float[Tensor, "n h w"] | None = None,
    percentile: float = 50.0,
    recipe: Recipe = "clean",
) -> LayerScores:
    """FSS: how alike two networks arrange the same images, layer by layer.

    Args:
        model: a network; comes back as it was.
        other: another network, of any architecture.
        images: as both networks take them.
        layers: layers of `model`; `"auto"` takes the last of every stage.
        other_layers: layers of `other`; paired with `layers` from first to last.
        aggregate: `"pooled"`, one statistic on all images, or `"mean"` over mini-batches, as in the paper.
        mini_batch: images a mini-batch for `"mean"`. It changes the result, unlike `batch_size`.
        unbiased: the bias-corrected statistic; False gives the plain one in [0, 1] of the published code, which is
            near 1 for deep features of few images whatever they are.
        permutations: permutations of the null distribution; 0 for none.
        batch_size: images a forward pass; does not change the result.
        seed: of mini-batches, permutations and noise.
        maps: heat maps, one an image: `model` is shown what they call important only, the rest filled in, see
            `kdlens.questions.road`. Any maps will do; of signed ones the positive part counts. Images of which a map
            keeps nothing are left out.
        other_maps: those for `other`; by default the same.
        percentile: per cent of the pixels to keep.
        recipe: `"clean"`, or `"published"`, as in the published code: other ties and colours, empty maps not left out.

    Returns:
        A score for every layer: 1 for the same arrangement up to scale and rotation, 0 on average for unrelated
        networks. A layer without finite or varying features has a NaN score that says so.

    Raises:
        StatisticsError: fewer than 4 images, or of which maps keep anything.
        LayerNotFoundError: no such layer.
        DataError: maps that do not fit the images, or are not finite.

    Warns:
        UserWarning: fewer than 8 images.

    Example:
        >>> from kdlens.models.load import load_model
        >>> student, baseline = load_model("resnet8"), load_model("resnet8")
        >>> scores = feature_similarity(student, baseline, torch.rand(16, 3, 32, 32), permutations=20)
        >>> list(scores), scores["layer3"].n
        (['layer1', 'layer2', 'layer3'], 16)

    Source: Adhane et al., WACV 2025, eq. 8.
    """
    plan = Plan(aggregate, mini_batch, unbiased, permutations, seed)
    seen = shown(images, maps, other_maps, percentile=percentile, recipe=recipe, seed=seed)
    _warn_if_few(len(seen.used))
    pairs = pair_layers(_layers(model, layers, images), _layers(other, other_layers, images))
    first = _distances(model, seen.model, [a for a, _ in pairs], batch_size)
    second = _distances(other, seen.other, [b for _, b in pairs], batch_size)
    scores = {a: defined(lambda x, y: similarity_score(x, y, plan), first[a], second[b]) for a, b in pairs}
    return LayerScores("fss", scores, dict(pairs), seen.notes)


def relevance(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Shaped[Tensor, "n ..."],
    *,
    given: nn.Module | None = None,
    embeddings: Float[Tensor, "classes e"] | None = None,
    partial: bool = False,
    layers: Layers = "auto",
    given_layers: Layers = "auto",
    aggregate: Aggregate = "pooled",
    mini_batch: int = 32,
    unbiased: bool = True,
    permutations: int = 500,
    batch_size: int | None = None,
    seed: int = 0,
    maps: Float[Tensor, "n h w"] | None = None,
    given_maps: Float[Tensor, "n h w"] | None = None,
    percentile: float = 50.0,
    recipe: Recipe = "clean",
) -> LayerScores:
    """RS: how much of a network's arrangement of the images is about the labels, layer by layer.

    Layer-specific RS is `relevance(model, ...)`; distilled RS `relevance(student, ..., given=baseline)`; residual RS
    `relevance(baseline, ..., given=student)`.

    Args:
        model: a network; comes back as it was.
        images: as the networks take them.
        labels: class indices `(n,)`, or one embedding an image `(n, e)`.
        given: the network whose features are taken out first.
        embeddings: one row a class, e.g. `kdlens.data.embeddings.label_embeddings(names, "minilm")`; None is one-hot.
            With two classes all embeddings give the same score.
        partial: take `given` out of the labels, too (partial instead of semi-partial distance correlation).
        layers: layers of `model`; `"auto"` takes the last of every stage.
        given_layers: layers of `given`, paired with `layers` from first to last.
        aggregate: as for `feature_similarity`.
        mini_batch: likewise.
        unbiased: likewise; must be True with `given`.
        permutations: permutations of the null distribution; 0 for none.
        batch_size: images a forward pass; does not change the result.
        seed: of mini-batches, permutations and noise.
        maps: heat maps; `model` is shown what they call important only, as for `feature_similarity`. Maps made with the
            labels, such as Grad-CAM and UniCAM, can pass the labels on by their shape alone.
        given_maps: those for `given`; by default the same.
        percentile: as for `feature_similarity`.
        recipe: likewise.

    Returns:
        A score for every layer: 0 on average for features that know nothing of the labels. Not the share of anything:
        compare scores of the same images and labels only.

    Raises:
        StatisticsError: fewer than 4 images (of which maps keep anything), or all of one class.
        DataError: labels that do not fit the images or the embeddings; maps that do not fit, or are not finite.
        LayerNotFoundError: no such layer.

    Warns:
        UserWarning: fewer than 8 images.

    Example:
        >>> from kdlens.models.load import load_model
        >>> student, baseline = load_model("resnet8"), load_model("resnet8")
        >>> images, labels = torch.rand(16, 3, 32, 32), torch.arange(16) % 2
        >>> relevance(student, images, labels, given=baseline, permutations=20).notes
        ('Only two classes occur, so every label embedding gives the same scores.',)

    Source: Adhane et al., WACV 2025, eq. 9; the partial form is that of the published code (Zhen et al., ECCV 2022).
    """
    plan = Plan(aggregate, mini_batch, unbiased, permutations, seed)
    if len(images) != len(labels):
        raise DataError(f"there are {len(images)} images but {len(labels)} labels")
    seen = shown(images, maps, given_maps, percentile=percentile, recipe=recipe, seed=seed)
    _warn_if_few(len(seen.used))
    targets = label_distances(labels[seen.used.to(labels.device)], embeddings)
    names = _layers(model, layers, images)
    first = _distances(model, seen.model, names, batch_size)
    notes = (*((TWO_CLASSES,) if two_classes(targets) else ()), *seen.notes)
    if given is None:
        scores = {a: defined(lambda x: relevance_score(x, targets, plan), first[a]) for a in names}
        return LayerScores("rs", scores, {}, notes)
    pairs = pair_layers(names, _layers(given, given_layers, images))
    second = _distances(given, seen.other, [b for _, b in pairs], batch_size)

    def score(x: Tensor, y: Tensor) -> Score:
        return relevance_score(x, targets, plan, given=y, partial=partial)

    return LayerScores("rs_given", {a: defined(score, first[a], second[b]) for a, b in pairs}, dict(pairs), notes)


def similarity_of(features: Float[Tensor, "n d"], others: Float[Tensor, "n e"], plan: Plan | None = None) -> Score:
    """FSS of two tensors of features of the same images.

    Raises:
        StatisticsError: fewer than 4 images, or features that are not finite.
        DataError: different numbers of images.

    Example:
        >>> x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
        >>> round(similarity_of(x, 2 * x.flip(1) + 1).value, 6)
        1.0
    """
    if len(features) != len(others):
        raise DataError(f"features must be of the same images, got {len(features)} and {len(others)}")
    _warn_if_few(len(features))
    return similarity_score(distances(features.flatten(1)), distances(others.flatten(1)), plan or Plan())


def relevance_of(
    features: Float[Tensor, "n d"],
    labels: Shaped[Tensor, "n ..."],
    *,
    given: Float[Tensor, "n e"] | None = None,
    embeddings: Float[Tensor, "classes e"] | None = None,
    partial: bool = False,
    plan: Plan | None = None,
) -> Score:
    """RS of a tensor of features; with `given`, of what they have beyond those. Arguments as for `relevance`.

    Raises:
        StatisticsError: fewer than 4 images, all of one class, or features that are not finite.
        DataError: features and labels of different numbers of images.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [0.2], [0.3], [2.0], [2.1], [2.2], [2.3]])
        >>> score = relevance_of(x, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
        >>> round(score.value, 3), score.p < 0.1
        (0.996, True)
    """
    if len({len(features), len(labels), len(features if given is None else given)}) > 1:
        raise DataError(f"features and labels must be of the same images, got {len(features)} and {len(labels)}")
    targets = label_distances(labels, embeddings)
    other = None if given is None else distances(given.flatten(1))
    _warn_if_few(len(features))
    return relevance_score(distances(features.flatten(1)), targets, plan or Plan(), given=other, partial=partial)


TWO_CLASSES = "Only two classes occur, so every label embedding gives the same scores."


def two_classes(targets: Distances) -> bool:
    """Whether the labels take two places only; then the scale, and so the embedding, drops out of every correlation."""
    return len(torch.unique(targets.round(decimals=9), dim=0)) == 2


def _warn_if_few(n: int) -> None:
    if FEWEST_IMAGES <= n < ENOUGH_IMAGES:
        warnings.warn(few_images(n), UserWarning, stacklevel=3)


def few_images(n: int) -> str:
    """The warning about few images."""
    return (
        f"only {n} images: under independence the score varies by 0.2 or more around 0; "
        f"use at least {ENOUGH_IMAGES}, better 128"
    )


def _layers(model: nn.Module, layers: Layers, images: Tensor) -> tuple[str, ...]:
    if layers == "auto":
        return auto_layers(model, images[:1].to(device_of(model)))
    return tuple(layers)


def _distances(
    model: nn.Module, images: Tensor, layers: Sequence[str], batch_size: int | None
) -> dict[str, Distances | str]:
    unique = list(dict.fromkeys(layers))
    return layer_distances(network_reader(model, images, batch_size), torch.arange(len(images)), unique)
