"""The statistic behind UniCAM and its gradient, on features alone.

R* = <M, P_labels> / (|M| |P_labels|), with M = P_model - <P_model, P_given> / <P_given, P_given> P_given and P the
U-centred distance matrices: how much the model's features say about the labels beyond what the given features say.
R* depends on an image's feature F_i only through its distances to other images, so its gradient is a weighted sum of
differences, dR*/dF_i = sum_j w_ij (F_i - F_j). The weights are all that has to be computed here.
"""

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from kdlens.errors import DataError, StatisticsError
from kdlens.stats.distance import project_out, u_center, u_product
from kdlens.stats.pairs import distances, distances_between

FEWEST = 4
"""Images for which the statistic exists."""

ONE_CLASS = "all images have the same label"
ALL_APART = "every image has a label of its own, so that all labels are equally far apart"
CONSTANT = "the network's features are the same for every image"
NOTHING_UNIQUE = "nothing is unique: the given network's features leave only rounding"


class Space:
    """Vectors of some images, and the distances among them, computed once for all directions that need them."""

    def __init__(self, vectors: Shaped[Tensor, "n d"]) -> None:
        self.vectors = vectors.detach()

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def distances(self) -> Float[Tensor, "n n"]:
        """Euclidean distances, float64."""
        if len(self) < FEWEST:
            raise StatisticsError(f"distance statistics need at least {FEWEST} images, got {len(self)}")
        return distances(self.vectors)


class Sample(NamedTuple):
    """Some images as the statistic sees them: features, given features or None, label vectors."""

    features: Space
    given: Space | None
    labels: Space


@dataclass(frozen=True)
class Score:
    """The statistic and the weights of its gradient.

    Attributes:
        relevance: R* of the comparison set; NaN where undefined.
        unique_fraction: |M|^2 / |P_model|^2, the share of the features' geometry that the given features do not have.
        weights: `(n, m)`, w_ij of each image towards each image of the comparison set; zero where undefined.
        reason: why the statistic is undefined, or empty.
    """

    relevance: float
    unique_fraction: float
    weights: Float[Tensor, "n m"] = field(repr=False)
    reason: str = ""


def score_batch(sample: Sample) -> Score:
    """Score a batch against itself, as published: every image counts, and every image's gradient depends on the rest.

    Raises:
        StatisticsError: fewer than 4 images, or features that are not finite.
    """
    gradient, relevance, unique, reason = _gradient(sample)
    d = sample.features.distances
    weights = torch.where(d > 0, (gradient + gradient.mT) / d, 0)
    return Score(relevance, unique, weights, reason)


def score_against(sample: Sample, reference: Sample) -> Score:
    """Score every image alone against a reference set: the batch is the reference and that one image.

    Only the last row of each distance matrix changes from image to image, so inner products of the U-centred matrices
    are taken from sums over rows: O(m) an image, and no matrix of an image is ever built.

    Returns:
        The reference set's own relevance and unique fraction, and each image's weights towards the reference.

    Raises:
        StatisticsError: fewer than 4 reference images, or features that are not finite.

    Source: the sums are those of Huo and Szekely, Technometrics 58 (2016), eq. 2.
    """
    whole = score_batch(reference)
    weights = whole.weights.new_zeros(len(sample.features), len(reference.features))
    if whole.reason or len(weights) == 0:
        return Score(whole.relevance, whole.unique_fraction, weights, whole.reason)
    own = _Bordered(sample.features, reference.features)
    labels = _Bordered(sample.labels, reference.labels)
    rows = own.rows.requires_grad_()
    with torch.enable_grad():
        squared, along = own @ own, own @ labels
        if sample.given is not None and reference.given is not None:
            given = _Bordered(sample.given, reference.given)
            overlap, norm = own @ given, given @ given
            present = norm > 0
            share = torch.where(present, overlap / torch.where(present, norm, 1), 0)
            squared, along = squared - share * overlap, along - share * (given @ labels)
        relevance = along / (squared * (labels @ labels)).sqrt()
    gradient = torch.autograd.grad(relevance.sum(), rows)[0]
    weights = torch.where(own.lengths > 0, gradient / own.lengths, 0).nan_to_num(0, 0, 0)
    return Score(whole.relevance, whole.unique_fraction, weights)


def label_vectors(*labels: Tensor) -> list[Tensor]:
    """Class indices to one-hot vectors over the classes that occur; embeddings pass as they are.

    Raises:
        DataError: labels that are neither `(n,)` whole numbers nor `(n, e)` embeddings, or a mixture of both.

    Example:
        >>> label_vectors(torch.tensor([7, 2, 7]))[0].tolist()
        [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    """
    for part in labels:
        if part.ndim not in (1, 2) or (part.ndim == 1 and part.is_floating_point()):
            raise DataError(
                f"labels must be class indices (n,) of whole numbers or embeddings (n, e), got {part.dtype} "
                f"of shape {tuple(part.shape)}"
            )
    if len({part.ndim for part in labels}) > 1 or len({part.shape[1:] for part in labels}) > 1:
        raise DataError("the labels of the images and of the reference must be of the same kind and width")
    if labels[0].ndim == 2:
        return list(labels)
    _, code = torch.unique(torch.cat(labels), return_inverse=True)
    return list(torch.nn.functional.one_hot(code).float().split([len(part) for part in labels]))


def _gradient(sample: Sample) -> tuple[Tensor, float, float, str]:
    """dR*/dd for the distances d of the features, R*, the unique fraction, and why they are undefined."""
    labels = u_center(sample.labels.distances)
    d = sample.features.distances.clone().requires_grad_()
    with torch.enable_grad():
        own = u_center(d)
        left = own if sample.given is None else project_out(own, u_center(sample.given.distances))
        size, whole, label_size = u_product(left, left), u_product(own, own), u_product(labels, labels)
        unique = (size / whole).item()
        reason = _no_feature(unique, sample.features) or _no_label(label_size, sample.labels)
        if reason:
            return torch.zeros_like(d), torch.nan, 0.0 if reason == NOTHING_UNIQUE else unique, reason
        relevance = u_product(left, labels) / (size * label_size).sqrt()
    return torch.autograd.grad(relevance, d)[0], relevance.item(), unique, ""


def _no_label(size: Tensor, labels: Space) -> str:
    """Why the labels say nothing, if they do not."""
    if size.item() > 0:
        return ""
    return ALL_APART if bool(labels.distances.any()) else ONE_CLASS


def _no_feature(unique: float, features: Space) -> str:
    """Why the features say nothing, if they do not."""
    kind = features.vectors.dtype
    precision = torch.finfo(kind).eps if kind.is_floating_point else 0.0
    longest = torch.linalg.vector_norm(features.vectors[0].double()).item()
    if math.isnan(unique) or features.distances.max().item() <= 100 * precision * longest:
        return CONSTANT
    rounding = min(max((1e3 * precision) ** 2, 1e-10), 1e-4)  # what 1000 units in the last place leave of a square
    return NOTHING_UNIQUE if unique < rounding else ""


class _Bordered:
    """Distances among m reference images, and one further row for each image; all less the mean distance.

    The mean is taken off because U-centring ignores a constant and the sums below then lose fewer digits.
    """

    def __init__(self, features: Space, reference: Space) -> None:
        block, self.lengths = reference.distances, distances_between(features.vectors, reference.vectors)
        m = len(block)
        mean = block.sum() / (m * (m - 1))
        self.block = (block - mean).fill_diagonal_(0)
        self.rows = self.lengths - mean
        self.sums = self.block.sum(0)

    def __matmul__(self, other: "_Bordered") -> Tensor:
        """<P, Q> of the U-centred matrices of reference plus one image, for each image."""
        size = len(self.sums) + 1
        products = (self.block * other.block).sum() + 2 * (self.rows * other.rows).sum(1)
        last, other_last = self.rows.sum(1), other.rows.sum(1)
        rows = ((self.sums + self.rows) * (other.sums + other.rows)).sum(1) + last * other_last
        totals = (self.sums.sum() + 2 * last) * (other.sums.sum() + 2 * other_last)
        centred = products - 2 * rows / (size - 2) + totals / ((size - 1) * (size - 2))
        return centred / (size * (size - 3))
