"""Which concepts a student has gained, kept and lost against its baseline, and how many units detect each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch

from kdlens.answer import Answer, Row
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.questions.context import Trio
from kdlens.questions.dissection.result import Dissection
from kdlens.questions.dissection.rows import Found, paired
from kdlens.questions.rows import over_seeds, with_interval
from kdlens.stats.resampling import seed_interval

Story = Literal["gained", "kept", "lost", "mixed"]
STORIES: tuple[Story, ...] = ("gained", "kept", "lost", "mixed")


def detectors_of(found: Dissection, threshold: float) -> Counter[int]:
    """Label number -> how many units detect it."""
    detects = (found.best.iou >= threshold) & (found.best.category >= 0)
    return Counter(found.best.label[detects].tolist())


def title(words: Vocabulary, label: int) -> str:
    """A label with its category.

    Example:
        >>> title(Vocabulary.of({"color": ["red"]}), 1)
        'red (color)'
    """
    return f"{words.names[label]} ({words.categories[int(words.primary[label])]})"


def story_of(mine: Sequence[int], its: Sequence[int]) -> Story:
    """What became of a concept, from the units that detect it in every seed of the student and of its baseline.

    Example:
        >>> story_of([2, 1], [0, 0]), story_of([1, 1], [3, 1]), story_of([0], [1]), story_of([1, 0], [0, 0])
        ('gained', 'kept', 'lost', 'mixed')
    """
    if all(mine) and all(its):
        return "kept"
    if all(mine) and not any(its):
        return "gained"
    return "lost" if all(its) and not any(mine) else "mixed"


def add_changes(answer: Answer, trios: Sequence[Trio], found: Found, threshold: float) -> None:
    """Add, for every layer, how many concepts were gained, kept and lost; for the last, which, and their units.

    With several seeds, a concept is gained if the student detects it in every seed and the baseline in none; lost and
    kept likewise; mixed, if seeds disagree.
    """
    layers = list(paired(trios, found))
    base = Row("", 0.0, model=trios[0].student.name, compared_with=trios[0].baseline.name)
    for mine, _, pairs in layers:
        _add_numbers(answer, replace(base, layer=mine, unit="concepts"), trios, pairs, threshold)
    if layers:
        mine, other, pairs = layers[-1]
        _add_concepts(answer, replace(base, layer=mine, unit="units"), other, pairs, threshold)


def _add_numbers(
    answer: Answer,
    base: Row,
    trios: Sequence[Trio],
    pairs: Sequence[tuple[Dissection, Dissection]],
    threshold: float,
) -> None:
    every = [(set(detectors_of(a, threshold)), set(detectors_of(b, threshold))) for a, b in pairs]
    counts = {"gained": [a - b for a, b in every], "kept": [a & b for a, b in every], "lost": [b - a for a, b in every]}
    for story, sets in counts.items():
        named = replace(base, metric=f"concepts_{story}", n=pairs[0][0].images)
        rows = [
            replace(named, value=float(len(one)), seed=trio.student.seed)
            for trio, one in zip(trios, sets, strict=False)
        ]
        for row in rows:
            answer.add(row)
        mean = with_interval(named, seed_interval([row.value for row in rows]))
        answer.add(replace(mean, n=named.n, low=None if mean.low is None else max(0.0, mean.low)))


def _add_concepts(
    answer: Answer, base: Row, other: str, pairs: Sequence[tuple[Dissection, Dissection]], threshold: float
) -> None:
    """One row a concept and network, and one with the difference, whose metric tells the story."""
    mine, its = ([detectors_of(pair[side], threshold) for pair in pairs] for side in (0, 1))
    words, n = pairs[0][0].vocabulary, pairs[0][0].images
    labels = sorted({label for one in (*mine, *its) for label in one})
    for label in labels:
        named = replace(base, class_name=title(words, label), n=n)
        units = [[one[label] for one in side] for side in (mine, its)]
        differences = [float(a - b) for a, b in zip(*units, strict=True)]
        story = story_of(*units)
        answer.add(over_seeds([replace(named, metric=f"concept_{story}_change", value=one) for one in differences]))
        for name, layer, counts in ((base.model, base.layer, units[0]), (base.compared_with, other, units[1])):
            row = replace(named, metric="concept_units", model=name, compared_with="", layer=layer)
            if not answer.select(metric="concept_units", model=name, layer=layer, class_name=named.class_name):
                answer.add(replace(row, value=float(torch.tensor(counts, dtype=torch.float64).mean())))
