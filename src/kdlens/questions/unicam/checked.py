"""Rows of the checks of the maps: deletion and insertion, the null band, shuffled weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.context import Trio
from kdlens.questions.rows import with_interval
from kdlens.questions.unicam.joint.causal import ORDERS, SHARES, Curves, causal_curves
from kdlens.questions.unicam.joint.sanity import by_chance, cascade
from kdlens.questions.unicam.joint.temperatures import Temperatures
from kdlens.questions.unicam.study_maps import StudyMaps
from kdlens.questions.unicam.view import View
from kdlens.stats.paired import crossed_mean
from kdlens.stats.resampling import Interval, bootstrap_mean

LIKENESS = {"map_likeness_cascade": "signed", "map_rank_likeness_cascade": "strength"}
"""Measures of how like maps stay while weights are shuffled, and the fields of a `Step`."""


@dataclass
class Checks:
    """Collects what the checks find, seed by seed, and turns it into rows and curves.

    Attributes:
        view: the study through UniCAM's eyes.
        maps: draws its maps.
        temperatures: of the networks.
    """

    view: View
    maps: StudyMaps
    temperatures: Temperatures
    _curves: dict[str, list[Curves]] = field(default_factory=dict)

    def add_trio(self, answer: Answer, trio: Trio) -> None:
        """Check the maps of one student of one seed."""
        name = trio.student.name
        self._curves.setdefault(name, []).append(causal_curves(self.view, self.maps, self.temperatures, trio))
        base = Row("", 0.0, model=name, compared_with=trio.baseline.name, seed=trio.student.seed)
        inside = self.maps.in_band(trio)
        if inside is not None:
            answer.add(
                replace(base, metric="maps_in_null_band", value=float(inside.sum()), n=len(inside), unit="images")
            )
        if len(self._curves[name]) == 1:
            self._shuffle(answer, trio, base)

    def _shuffle(self, answer: Answer, trio: Trio, base: Row) -> None:
        """Likeness to the maps of shuffled weights, step by step from the head, and of all weights."""
        chance = by_chance(self.maps, trio.student)
        example, seed = self.view.batch().images[:1], self.view.context.seed
        steps = list(cascade(self.maps, trio.student, example=example, seed=seed))
        for step in steps:
            for metric, kind in LIKENESS.items():
                known = replace(base, metric=metric, layer=step.stage, chance=_mean(getattr(chance, kind)))
                self._add_likeness(answer, known, getattr(step, kind))
        if steps:
            self._add_likeness(answer, replace(base, metric="map_likeness_shuffled", chance=0.0), steps[-1].signed)

    def _add_likeness(self, answer: Answer, base: Row, alike: Tensor) -> None:
        """A row, unless every map is constant."""
        defined = alike[alike.isfinite()]
        if len(defined):
            answer.add(with_interval(base, bootstrap_mean(defined, seed=self.view.context.seed)))

    def finish(self, answer: Answer, students: Sequence[Trio]) -> dict[str, np.ndarray]:
        """Add the rows over seeds, and return the curves for the report.

        Args:
            answer: gets the rows.
            students: one trio of each student.
        """
        arrays: dict[str, np.ndarray] = {}
        for trio in students:
            name, curves = trio.student.name, self._curves[trio.student.name]
            base = Row("", 0.0, model=name, compared_with=trio.baseline.name, unit="nats")
            self._add(answer, replace(base, metric="lead"), torch.stack([c.lead for c in curves]))
            for way in ("deletion", "insertion"):
                found = {order: torch.stack([getattr(c, way)[order] for c in curves]) for order in ORDERS}
                for order, values in found.items():
                    self._add(answer, replace(base, metric=f"{way}_{order}"), values.mean(1))
                    arrays[f"curve.{way}.{order}.{name}"] = self._curve(values)
                difference = (found["distilled"] - found["residual"]).mean(1)
                self._add(answer, replace(base, metric=f"{way}_difference"), difference)
        return {"curve.shares": np.array(SHARES), **arrays} if arrays else {}

    def _add(self, answer: Answer, base: Row, values: Tensor) -> None:
        answer.add(with_interval(base, self._interval(values)))

    def _interval(self, values: Tensor) -> Interval:
        """Mean over seeds and images of `(seeds, n)` values."""
        return crossed_mean(values.double(), seed=self.view.context.seed)

    def _curve(self, values: Tensor) -> np.ndarray:
        """`(shares, 3)` mean and interval at every share, from `(seeds, shares, n)`."""
        intervals = [self._interval(values[:, place]) for place in range(values.shape[1])]
        return np.array([[i.value, i.low, i.high] for i in intervals], dtype=np.float64)


def _mean(alike: Tensor) -> float | None:
    """Mean over images; None where it is undefined for all."""
    mean = alike[alike.isfinite()].double().mean().item()
    return None if math.isnan(mean) else mean
