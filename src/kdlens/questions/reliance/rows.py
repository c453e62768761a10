"""Rows of the reliance answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.context import Context, Subject
from kdlens.questions.rows import over_seeds, percent, points, with_interval
from kdlens.stats.paired import crossed_difference, wilson


@dataclass(frozen=True, eq=False)
class Changed:
    """Which images a network names right.

    Attributes:
        original: as they are.
        swapped: on the background of another class.
        same: on the background of another image of the same class.
        removed: without the object.
        flipped: where the answer, right or wrong, is another one once the background is swapped.
        has_same: where there is another image of the same class.
    """

    original: Bool[Tensor, " n"]
    swapped: Bool[Tensor, " n"]
    same: Bool[Tensor, " n"]
    removed: Bool[Tensor, " n"]
    flipped: Bool[Tensor, " n"]
    has_same: Bool[Tensor, " n"]

    @property
    def reliance(self) -> Tensor:
        """1 where the swap made a right answer wrong, -1 the reverse."""
        return self.original.float() - self.swapped.float()

    @property
    def gap(self) -> Tensor:
        """The same against a background of the same class, where there is one."""
        return (self.same.float() - self.swapped.float())[self.has_same]


def add_rows(answer: Answer, context: Context, changed: Mapping[Subject, Changed], classes: int) -> None:
    """Add accuracies and reliance of every network, then the student's change against its baseline."""
    groups: dict[str, list[Subject]] = {}
    for subject in changed:
        groups.setdefault(subject.name, []).append(subject)
    for name, subjects in groups.items():
        base = Row("", 0.0, model=name, chance=100 / classes, unit="%")
        for metric, kind in (
            ("accuracy_original", "original"),
            ("accuracy_background_swapped", "swapped"),
            ("accuracy_background_same_class", "same"),
            ("accuracy_object_removed", "removed"),
            ("answers_changed", "flipped"),
        ):
            chance = None if kind == "flipped" else base.chance
            named = {s.seed: _kind(changed[s], kind) for s in subjects}
            _accuracy(answer, replace(base, metric=metric, chance=chance), named)
        for metric, kind in (("background_reliance", "reliance"), ("background_gap", "gap")):
            values = {s.seed: getattr(changed[s], kind) for s in subjects}
            _points(answer, Row(metric, 0.0, model=name), values, context.seed)
    for metric, kind in (("background_reliance_change", "reliance"), ("answers_changed_change", "flipped")):
        pairs: dict[tuple[str, str], dict[int, Tensor]] = {}
        for trio in context.trios():
            mine, others = getattr(changed[trio.student], kind), getattr(changed[trio.baseline], kind)
            pairs.setdefault((trio.student.name, trio.baseline.name), {})[trio.student.seed] = (
                mine.float() - others.float()
            )
        for (student, baseline), values in pairs.items():
            _points(answer, Row(metric, 0.0, model=student, compared_with=baseline), values, context.seed)


def _kind(changed: Changed, kind: str) -> Tensor:
    right: Tensor = getattr(changed, kind)
    return right[changed.has_same] if kind == "same" else right


def _accuracy(answer: Answer, base: Row, right: Mapping[int, Tensor]) -> None:
    rows = [
        with_interval(replace(base, seed=seed), percent(wilson(int(one.sum()), len(one))))
        for seed, one in right.items()
        if len(one)
    ]
    for row in rows:
        answer.add(row)
    if rows:
        answer.add(over_seeds(rows))


def _points(answer: Answer, base: Row, values: Mapping[int, Tensor], seed: int) -> None:
    stacked = torch.stack(list(values.values()))
    if stacked.shape[1] == 0:
        return
    for number, one in values.items():
        answer.add(points(replace(base, seed=number), crossed_difference(one[None], seed=seed)))
    answer.add(points(base, crossed_difference(stacked, seed=seed)))
