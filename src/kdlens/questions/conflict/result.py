"""What the classes' gradients in a shared layer say: cosines, norms, and how many pairs are in conflict."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.questions.conflict.cotangents import Kind, Task
from kdlens.questions.phrases import counted, listed, number, span
from kdlens.stats.resampling import Interval, seed_interval

ROUNDING = 1e-6
"""Cosines closer to 0 than this are none: gradients of single precision say no more."""


@dataclass(frozen=True, eq=False, repr=False)
class GradientConflict:
    """How the gradients of K classes agree in a layer.

    Attributes:
        by_batch: `(batches, K, K)` float64 cosines; NaN for a class whose gradient is zero in that batch.
        norms: `(K,)` mean over batches of the length of every class's gradient.
        counts: `(batches, K)` images of every class.
        classes: names.
        layer: whose parameters are meant.
        parameters: how many they are.
        task: what a task is, `"binary"` or `"images"`.
        kind: what the logits are of, `"softmax"` or `"sigmoid"`.

    Example:
        >>> cosines = torch.tensor([[[1.0, -0.5], [-0.5, 1.0]]], dtype=torch.float64)
        >>> counts = torch.tensor([[4, 4]])
        >>> GradientConflict(cosines, torch.ones(2), counts, ("cat", "dog"), "layer3", 640, "binary", "softmax")
        GradientConflict at layer3 (640 parameters): 1 of 1 pairs of 2 classes in conflict
        conflict rate 100.0 %, mean cosine -0.500 (1 batch of 8 images, task: binary, logits: softmax)
        most opposed: cat and dog -0.50
    """

    by_batch: Float[Tensor, "b k k"]
    norms: Float[Tensor, " k"]
    counts: Int[Tensor, "b k"]
    classes: tuple[str, ...]
    layer: str
    parameters: int
    task: Task
    kind: Kind

    @cached_property
    def cosines(self) -> Float[Tensor, "k k"]:
        """Mean over the batches in which both classes have a gradient; NaN where there are none."""
        return self.by_batch.nanmean(0)

    @cached_property
    def rate(self) -> Interval:
        """Conflict rate: the share of pairs with a cosine below 0, mean over batches, with an interval over them."""
        return over_batches(conflict_rates(self.by_batch))

    @cached_property
    def mean_cosine(self) -> Interval:
        """Mean cosine over pairs, mean over batches, with an interval over them."""
        return over_batches(mean_cosines(self.by_batch))

    @property
    def without_gradient(self) -> tuple[str, ...]:
        """Classes whose gradient is zero in every batch: nothing of them reaches the layer."""
        gone = self.by_batch.diagonal(dim1=1, dim2=2).isnan().all(0)
        return tuple(name for name, one in zip(self.classes, gone.tolist(), strict=True) if one)

    @property
    def without_images(self) -> tuple[str, ...]:
        """Classes without an image in any batch; as a binary task such a class has only heard "no"."""
        return tuple(name for name, n in zip(self.classes, self.counts.sum(0).tolist(), strict=True) if n == 0)

    @property
    def images(self) -> int:
        """Images in all batches."""
        return int(self.counts.sum())

    def pairs(self, most: int = 10) -> list[tuple[str, str, float]]:
        """The most opposed pairs of classes with their cosine, the most opposed first; only those below 0."""
        rows, columns = upper(len(self.classes))
        values = self.cosines[rows, columns]
        order = values.nan_to_num(nan=torch.inf).argsort()[:most]
        found = [(int(rows[i]), int(columns[i]), values[i].item()) for i in order.tolist()]
        return [(self.classes[a], self.classes[b], value) for a, b, value in found if value < -ROUNDING]

    def __repr__(self) -> str:
        rate, mean = self.rate, self.mean_cosine
        known = self.cosines[upper(len(self.classes))]
        fighting, defined = int((known < -ROUNDING).sum()), int((~known.isnan()).sum())
        batches = counted(len(self.counts), "batch", "batches")
        percent = Interval(100 * rate.value, 100 * rate.low, 100 * rate.high, rate.n)
        lines = [
            f"GradientConflict at {self.layer} ({counted(self.parameters, 'parameter')}): {fighting} of {defined} "
            f"pairs of {counted(len(self.classes), 'class', 'classes')} in conflict",
            f"conflict rate {number(percent.value)} %{span(percent.low, percent.high)}, mean cosine "
            f"{number(mean.value, 3)}{span(mean.low, mean.high, 3)} ({batches} of "
            f"{counted(int(self.counts[0].sum()), 'image')}, task: {self.task}, logits: {self.kind})",
        ]
        worst = [f"{a} and {b} {number(value, 2)}" for a, b, value in self.pairs(3)]
        lines += [f"most opposed: {'; '.join(worst)}"] if worst else []
        for what, names in (("without gradient", self.without_gradient), ("without images", self.without_images)):
            lines += [f"{what}: {counted(len(names), 'class', 'classes')}: {listed(list(names))}"] if names else []
        return "\n".join(lines)


def cosines_of(gram: Float[Tensor, "*b k k"]) -> tuple[Float[Tensor, "*b k k"], Float[Tensor, "*b k"]]:
    """Cosines and norms from inner products; a gradient of length 0 has no direction, so its cosines are NaN.

    Example:
        >>> cosines_of(torch.tensor([[4.0, 2.0], [2.0, 1.0]]))[0]
        tensor([[1., 1.],
                [1., 1.]])
    """
    norms = gram.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    usable = torch.where(norms > 0, norms, torch.nan)
    cosines = (gram / usable[..., :, None] / usable[..., None, :]).clamp(-1.0, 1.0)
    cosines = (cosines + cosines.mT) / 2
    diagonal = torch.where(norms > 0, 1.0, torch.nan).to(gram.dtype)
    return torch.diagonal_scatter(cosines, diagonal, dim1=-2, dim2=-1), norms


def upper(classes: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of all pairs, each once."""
    rows, columns = torch.triu_indices(classes, classes, 1)
    return rows, columns


def conflict_rates(cosines: Float[Tensor, "b k k"]) -> Float[Tensor, " b"]:
    """Of every batch the share of pairs below 0, of those whose cosine is known; NaN where none is."""
    pairs = cosines[:, *upper(cosines.shape[-1])]
    return (pairs < -ROUNDING).double().masked_fill(pairs.isnan(), torch.nan).nanmean(1)


def mean_cosines(cosines: Float[Tensor, "b k k"]) -> Float[Tensor, " b"]:
    """Of every batch the mean over pairs whose cosine is known; NaN where none is."""
    return cosines[:, *upper(cosines.shape[-1])].nanmean(1)


def over_batches(values: Float[Tensor, " b"]) -> Interval:
    """Mean with Student's t interval over batches, which hold different images; unknown ends for one batch.

    Example:
        >>> over_batches(torch.tensor([0.5])).n, over_batches(torch.tensor([float("nan")])).value
        (1, nan)
    """
    known = values[~values.isnan()].tolist()
    return seed_interval(known) if known else Interval(math.nan, math.nan, math.nan, 0)
