"""The logits of a study's networks, checked, and stacked over seeds so that everything after them can be paired."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.questions.accuracy.classification import check_logits, correct, finite_rows
from kdlens.questions.context import Context, Subject


@dataclass(frozen=True, eq=False)
class Judged:
    """One network of a study, all its seeds, judged on all images.

    Attributes:
        name: as in the study.
        role: teacher, student or baseline.
        seeds: seed indices, in the order of the first axis below.
        logits: `(seeds, n, classes)`.
        right: `(seeds, n)`, whether the image is named right.
    """

    name: str
    role: Literal["teacher", "student", "baseline"]
    seeds: tuple[int, ...]
    logits: Float[Tensor, "seeds n classes"]
    right: Bool[Tensor, "seeds n"]

    @property
    def finite(self) -> Bool[Tensor, " n"]:
        """Images with finite logits for every seed."""
        return torch.stack([finite_rows(logits) for logits in self.logits]).all(0)


@dataclass(frozen=True, eq=False)
class Pair:
    """A student and its baselines, one for each of its seeds in the same order."""

    student: Judged
    baseline: Judged
    baseline_count: int

    @property
    def differences(self) -> Float[Tensor, "seeds n"]:
        """1 where only the student is right, -1 where only the baseline is, else 0."""
        return self.student.right.float() - self.baseline.right.float()


def judge(context: Context) -> dict[str, Judged]:
    """Take every network's logits from the context; names in the order of the study.

    Raises:
        DataError: no images, or labels outside the classes.
        ModelError: logits of the wrong shape, or not one image with finite logits.
    """
    groups: dict[str, list[Subject]] = {}
    for subject in context.subjects:
        groups.setdefault(subject.name, []).append(subject)
    return {name: _stack(context, subjects) for name, subjects in groups.items()}


def pairs(context: Context, judged: dict[str, Judged]) -> list[Pair]:
    """Pair every student with the baseline of each of its seeds."""
    partners: dict[str, list[Subject]] = {}
    for trio in context.trios():
        partners.setdefault(trio.student.name, []).append(trio.baseline)
    found = []
    for name, baselines in partners.items():
        whole = judged[baselines[0].name]
        rows = [whole.seeds.index(subject.seed) for subject in baselines]
        matched = Judged(whole.name, whole.role, judged[name].seeds, whole.logits[rows], whole.right[rows])
        found.append(Pair(judged[name], matched, len(set(rows))))
    return found


def _stack(context: Context, subjects: list[Subject]) -> Judged:
    labels = context.labels
    logits = []
    for subject in subjects:
        one = context.logits(subject)
        label = subject.name if len(subjects) == 1 else f"{subject.name} (seed {subject.seed})"
        check_logits(label, one, labels, len(context.class_names))
        logits.append(one)
    stacked = torch.stack(logits)
    right = torch.stack([correct(one, labels) for one in logits])
    return Judged(subjects[0].name, subjects[0].role, tuple(s.seed for s in subjects), stacked, right)
