"""Rows of the knowledge answer: points on the object and off it, by layer, and the student's gain."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.context import Subject, Trio
from kdlens.questions.knowledge.points import Background, KnowledgePoints, knowledge_points, passes_selection
from kdlens.questions.pairing import pair_layers
from kdlens.questions.rows import with_interval
from kdlens.stats.paired import crossed_mean

Maps = Mapping[tuple[Subject, str], Float[Tensor, "n gh gw"]]

UNITS = {"points_on_object": "cells", "points_off_object": "cells", "points_share": "%"}
"""Measures of knowledge, and their units."""

_FIELDS = {"points_on_object": "on_object", "points_off_object": "off_object", "points_share": "share"}
_FEWEST = 2


@dataclass(frozen=True)
class Counting:
    """How points are counted.

    Attributes:
        foreground: cells of the object.
        threshold: nats.
        background: what the level is taken from.
        seed: of the bootstrap.
    """

    foreground: Bool[Tensor, "n gh gw"]
    threshold: float
    background: Background
    seed: int

    def at(self, threshold: float) -> "Counting":
        """The same with another threshold."""
        return replace(self, threshold=threshold)

    def of(self, entropy: Tensor) -> KnowledgePoints:
        """Points of one network, with all images in their places."""
        return self._of(entropy, self.foreground)

    def points(self, maps: Sequence[Tensor], *, selection: bool = False) -> list[KnowledgePoints]:
        """Points of several networks on the images that count for all of them; the others are left out of all."""
        counted = torch.stack([self.of(one).counted for one in maps]).all(0)
        if selection:
            counted &= torch.stack([passes_selection(one, self.foreground) for one in maps]).all(0)
        return [self._of(one[counted], self.foreground[counted]) for one in maps]

    def _of(self, entropy: Tensor, foreground: Tensor) -> KnowledgePoints:
        return knowledge_points(entropy, foreground, self.threshold, self.background)


def add_networks(answer: Answer, maps: Maps, counting: Counting) -> None:
    """Add N_fg, N_bg and lambda of every network and layer: per seed, and over seeds (`seed=None`)."""
    groups: dict[tuple[str, str], list[Subject]] = {}
    for subject, layer in maps:
        groups.setdefault((subject.name, layer), []).append(subject)
    for (name, layer), subjects in groups.items():
        found = counting.points([maps[subject, layer] for subject in subjects])
        if len(found[0].counted) < _FEWEST:
            continue
        chance = 100 * found[0].chance.mean().item()
        for metric, unit in UNITS.items():
            base = Row(metric, 0.0, model=name, layer=layer, unit=unit, chance=chance if unit == "%" else None)
            _add(answer, base, [s.seed for s in subjects], values_of(found, metric), counting.seed)


def add_gains(answer: Answer, trios: Sequence[Trio], maps: Maps, counting: Counting) -> None:
    """Add what one student has beyond its baseline at every layer, paired by image and seed; also with the selection.

    Args:
        answer: gets the rows.
        trios: of one student, one a seed.
        maps: entropies of all networks.
        counting: how points are counted.
    """
    student, baseline = trios[0].student, trios[0].baseline
    for mine, other in pair_layers(student.layers, baseline.layers):
        both = [maps[t.student, mine] for t in trios] + [maps[t.baseline, other] for t in trios]
        seeds = [t.student.seed for t in trios]
        base = Row("", 0.0, model=student.name, compared_with=baseline.name, layer=mine)
        for suffix in ("gain", "selected_gain"):
            found = counting.points(both, selection=suffix != "gain")
            if len(found[0].counted) < _FEWEST:
                continue
            for metric, unit in UNITS.items():
                values = values_of(found, metric)
                named = replace(base, metric=f"{metric}_{suffix}", unit="points" if unit == "%" else unit)
                difference = values[: len(trios)] - values[len(trios) :]
                _add(answer, named, seeds if suffix == "gain" else [], difference, counting.seed)


def values_of(found: Sequence[KnowledgePoints], metric: str) -> Float[Tensor, "networks n"]:
    """One measure of every network and image, shares in per cent."""
    values = torch.stack([getattr(points, _FIELDS[metric]) for points in found])
    return 100 * values if UNITS[metric] == "%" else values


def _add(answer: Answer, base: Row, seeds: Sequence[int], values: Tensor, seed: int) -> None:
    for number, one in zip(seeds, values, strict=False):
        answer.add(with_interval(replace(base, seed=number), crossed_mean(one[None], seed=seed)))
    answer.add(with_interval(base, crossed_mean(values, seed=seed)))
