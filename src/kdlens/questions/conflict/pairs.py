"""Which pairs of classes stopped to pull a layer apart, and which began to: changes of sign that are no accident."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.conflict.result import upper
from kdlens.stats.false_discovery import benjamini_hochberg
from kdlens.stats.paired import in_quadrature
from kdlens.stats.resampling import Interval, seed_interval
from kdlens.stats.student_t import t_tail

FALSE = 0.05
"""False discovery rate over the pairs of a student."""

LARGE = 0.05
"""How far from 0 a cosine must be on either side of a change of sign, for two networks that hardly differ have some."""

LEAST = 3
"""Batches below which no pair is tested."""


@dataclass(frozen=True)
class PairChange:
    """A pair of classes in student and baseline.

    Attributes:
        a, b: numbers of the classes.
        before: cosine in the baseline, mean over seeds and batches.
        after: in the student.
        change: after minus before, with its interval over batches and seeds.
        p: over batches, corrected for the number of pairs; NaN where untested.
    """

    a: int
    b: int
    before: float
    after: float
    change: Interval
    p: float

    @property
    def sure(self) -> bool:
        """Whether the change is no accident: corrected p below .05 and an interval that excludes 0."""
        return self.p < FALSE and (self.change.low > 0 or self.change.high < 0)

    @property
    def stopped(self) -> bool:
        """Opposed in the baseline and not in the student, for sure."""
        return self.sure and self.before < -LARGE and self.after > LARGE

    @property
    def started(self) -> bool:
        """Opposed in the student and not in the baseline, for sure."""
        return self.sure and self.after < -LARGE and self.before > LARGE


def pair_changes(
    students: Sequence[Float[Tensor, "b k k"]], baselines: Sequence[Float[Tensor, "b k k"]]
) -> list[PairChange]:
    """Compare all pairs, seed by seed and batch by batch.

    Under the null hypothesis a pair's change, mean over seeds, varies about 0 from batch to batch (Student's t).

    Args:
        students: cosines of every seed.
        baselines: of the baseline of every seed, on the same batches.

    Returns:
        Every pair whose cosine is known in all batches, sorted by classes.
    """
    after, before = torch.stack(list(students)).double(), torch.stack(list(baselines)).double()
    rows, columns = upper(after.shape[-1])
    after, before = after[:, :, rows, columns], before[:, :, rows, columns]
    known = (~after.isnan() & ~before.isnan()).all(0).all(0).nonzero().flatten().tolist()
    difference = after - before
    ps = benjamini_hochberg([_p(difference[:, :, i].mean(0)) for i in known])
    return [
        PairChange(
            int(rows[i]),
            int(columns[i]),
            before[:, :, i].mean().item(),
            after[:, :, i].mean().item(),
            _interval(difference[:, :, i]),
            p,
        )
        for i, p in zip(known, ps, strict=True)
    ]


def _interval(difference: Float[Tensor, "s b"]) -> Interval:
    over_batches = seed_interval(difference.mean(0).tolist())
    return in_quadrature(over_batches, seed_interval(difference.mean(1).tolist()))


def _p(changes: Float[Tensor, " b"]) -> float:
    """Two-sided p of Student's t over batches; NaN for fewer than three."""
    n = len(changes)
    if n < LEAST:
        return math.nan
    spread = changes.std().item() / math.sqrt(n)
    mean = abs(changes.mean().item())
    if spread == 0:
        return 1.0 if mean == 0 else 0.0
    return min(1.0, 2 * t_tail(mean / spread, n - 1))
