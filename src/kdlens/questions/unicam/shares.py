"""How much of the maps of the comparison set lies on the object."""

from dataclasses import replace

import torch
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.context import Trio
from kdlens.questions.rows import with_interval
from kdlens.questions.unicam.cam import energy_share
from kdlens.questions.unicam.rows import DIRECTIONS, join
from kdlens.questions.unicam.study_maps import Drawn, StudyMaps
from kdlens.questions.unicam.view import View
from kdlens.stats.resampling import Interval, bootstrap_mean


class Shares:
    """Collects, network by network, how much of the maps of the comparison set lies on the object."""

    def __init__(self, view: View, maps: StudyMaps) -> None:
        self.view = view
        self.maps = maps
        masks = view.batch().masks
        self.masks = None if masks is None else masks.bool()
        self._rows: dict[tuple[str, str, str], list[tuple[Row, Interval]]] = {}

    def add_trio(self, answer: Answer, trio: Trio) -> None:
        """Maps of one student, its baseline, the teacher, and of both directions."""
        student, baseline = trio.student, trio.baseline
        if self.masks is not None:
            self._plain(trio)
        base = Row("", 0.0, model=student.name, compared_with=baseline.name, seed=student.seed)
        for direction, (model, given) in zip(DIRECTIONS, ((student, baseline), (baseline, student)), strict=True):
            result = self.maps.of_reference(model, given)
            empty, n = int(result.empty.sum()), len(result.empty)
            metric = "degenerate_maps" if direction == "distilled" else "degenerate_maps_residual"
            answer.add(replace(base, metric=metric, value=float(empty), layer=result.layer, n=n, unit="images"))
            self._share(direction, base, result)

    def _plain(self, trio: Trio) -> None:
        """Every network's own maps, and how much more of the student's than of the baseline's lies on the object."""
        student, baseline = trio.student, trio.baseline
        own = {s: self.maps.of_reference(s, None) for s in (trio.teacher, baseline, student) if s is not None}
        for subject, drawn in own.items():
            self._share(subject.role, Row("", 0.0, model=subject.name, seed=subject.seed), drawn)
        base = Row("", 0.0, model=student.name, compared_with=baseline.name, seed=student.seed)
        row = replace(base, metric="share_on_object_gain", layer=own[student].layer)
        self._keep(row, self._of(own[student]) - self._of(own[baseline]))

    def finish(self, answer: Answer) -> None:
        """Add the rows: per seed, and over seeds."""
        for numbers in filter(None, self._rows.values()):
            for row, interval in numbers:
                answer.add(with_interval(row, interval))
            first = numbers[0][0]
            joined = join([interval for _, interval in numbers], least=-1 if first.metric.endswith("gain") else 0)
            answer.add(with_interval(replace(first, seed=None), joined))

    def _of(self, result: Drawn) -> Tensor:
        """Share of each image; NaN where the map or the mask is empty."""
        assert self.masks is not None  # noqa: S101 - checked by the callers
        share = energy_share(result.signed, self.masks)
        return torch.where(self.masks.any(-1).any(-1), share, torch.nan)

    def _share(self, role: str, base: Row, result: Drawn) -> None:
        if self.masks is None:
            return
        self._keep(replace(base, metric=f"share_on_object_{role}", layer=result.layer), self._of(result))

    def _keep(self, row: Row, values: Tensor) -> None:
        """Keep the mean over the images where it is defined; a network seen in several trios counts once."""
        defined = values.isfinite()
        key = (row.metric, row.model, row.layer)
        known = self._rows.setdefault(key, [])
        if not bool(defined.any()) or any(other.seed == row.seed for other, _ in known):
            return
        interval = bootstrap_mean(values[defined], seed=self.view.context.seed)
        chance = None if row.metric.endswith("gain") else self._area(defined)
        known.append((replace(row, chance=chance), interval))

    def _area(self, defined: Tensor) -> float:
        assert self.masks is not None  # noqa: S101 - as above
        return self.masks[defined].double().mean().item()
