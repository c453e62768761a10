"""Rows of the confusions a student has, has not, and could have had from its teacher."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.class_similarity.confusions import Confusion, Pair, compare, rate
from kdlens.questions.class_similarity.prepared import Prepared
from kdlens.questions.named import named
from kdlens.questions.rows import percent, points, with_interval

SHOWN = 12
"""Pairs without a clear difference whose rates are given all the same: those that changed most."""


def pair_name(classes: Sequence[str], pair: Pair) -> str:
    """True class and named class as they stand in a row.

    Example:
        >>> pair_name(["Shirt", "Coat"], (0, 1))
        'Shirt → Coat'
    """
    return f"{classes[pair[0]]} → {classes[pair[1]]}"


def add_confusions(
    answer: Answer, found: Prepared, similarity: Float[Tensor, "k k"], *, seed: int
) -> dict[str, list[Confusion]]:
    """Add what became of every pair of classes for every student, and how often each network makes the pairs named.

    The story of a pair is in the name of its measure: `confusion_transferred`, `confusion_own`, `confusion_dropped`,
    `confusion_missing`, or `confusion_undecided`.
    """
    teacher = found.teacher
    if teacher is None:
        return {}
    said = {name: torch.stack([named(found.logits[key]) for key in found.keys(name)]) for name in found.roles}
    stories: dict[str, list[Confusion]] = {}
    wanted: dict[str, dict[Pair, None]] = {}
    for student in found.students:
        partners = [found.partners[key] for key in found.keys(student)]
        baseline = torch.stack([named(found.logits[key]) for key in partners])
        every = compare(said[student], baseline, said[teacher[0]][0], found.labels, similarity, seed=seed)
        stories[student] = every
        for one in every:
            against = teacher[0] if one.story == "missing" else found.baseline(student)
            row = Row(f"confusion_{one.story}", 0.0, model=student, compared_with=against, p=one.p)
            answer.add(points(_of(row, found, one.pair), one.change))
        for name in (teacher[0], student, found.baseline(student)):
            wanted.setdefault(name, {}).update(dict.fromkeys(_shown(every)))
    _add_rates(answer, found, said, similarity, wanted)
    return stories


def _add_rates(
    answer: Answer,
    found: Prepared,
    said: dict[str, Int[Tensor, "seeds n"]],
    similarity: Float[Tensor, "k k"],
    wanted: dict[str, dict[Pair, None]],
) -> None:
    """How often each network makes the pairs that are named, and how alike the teacher finds them."""
    teacher = found.teacher[0] if found.teacher else ""
    even = 100 / (len(similarity) - 1)
    for name, pairs in wanted.items():
        for pair in pairs:
            row = _of(Row("confusion_rate", 0.0, model=name, unit="%"), found, pair)
            answer.add(with_interval(row, percent(rate(said[name], found.labels, pair))))
            if name == teacher:
                share = 100 * similarity[pair].item()
                n = int((found.labels == pair[0]).sum())
                answer.add(_of(Row("share_of_wrong", share, model=name, chance=even, n=n, unit="%"), found, pair))


def _shown(every: Sequence[Confusion]) -> list[Pair]:
    clear = [one.pair for one in every if one.story != "undecided"]
    rest = sorted((one for one in every if one.story == "undecided"), key=lambda one: -abs(one.change.value))
    return clear + [one.pair for one in rest[: max(0, SHOWN - len(clear))]]


def _of(row: Row, found: Prepared, pair: Pair) -> Row:
    return replace(row, class_name=pair_name(found.classes, pair))
