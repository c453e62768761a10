"""Rows of the dynamics answer: when points were learned, how simultaneously, and how many were given up."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.models.history import Kind, Unit
from kdlens.questions.context import Subject, Trio
from kdlens.questions.dynamics.counting import LearningDynamics, count_dynamics, spread
from kdlens.questions.knowledge.rows import Counting
from kdlens.questions.rows import with_interval
from kdlens.stats.paired import in_quadrature
from kdlens.stats.resampling import percentile_interval, seed_interval

KINDS: tuple[Kind, ...] = ("per_step", "per_epoch")
DRAWS = 2000

Statistic = Callable[[Tensor], Tensor]
"""Takes numbers of images along the last axis, and returns one number for them."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What was measured of one network over its training.

    Attributes:
        entropy: at the checkpoints that all networks have.
        paths: W at these checkpoints, by kind; no entry where it was not recorded.
    """

    entropy: Float[Tensor, "m n gh gw"]
    paths: Mapping[str, Float[Tensor, " m"]]


@dataclass(frozen=True)
class Timing:
    """How points are counted over the checkpoints of `epochs`, or over those of lists at these places."""

    counting: Counting
    epochs: Sequence[int]
    unit: Unit = "epoch"

    def of(self, trained: Sequence[Trained], kind: str = "") -> list[LearningDynamics]:
        """Dynamics of several networks on the images that count for all of them at every checkpoint."""
        found = [self._count(one, slice(None), kind) for one in trained]
        counted = torch.stack([one.counted for one in found]).all(0)
        return found if bool(counted.all()) else [self._count(one, counted, kind) for one in trained]

    def whole(self, one: Trained) -> LearningDynamics:
        """Dynamics of one network, with all images in their places."""
        return self._count(one, slice(None), "")

    def _count(self, one: Trained, images: Tensor | slice, kind: str) -> LearningDynamics:
        return count_dynamics(
            one.entropy[:, images],
            self.counting.foreground[images],
            one.paths.get(kind),
            epochs=self.epochs if self.unit == "epoch" else None,
            threshold=self.counting.threshold,
            background=self.counting.background,
        )


@dataclass(frozen=True)
class Number:
    """One measure: what it is of an image, and what of many.

    Attributes:
        metric: its name.
        values: one number an image.
        statistic: of the images of a seed.
        unit: of the number.
        ending: of the metric of a difference.
    """

    metric: str
    values: Callable[[LearningDynamics], Tensor]
    statistic: Statistic
    unit: str = ""
    ending: str = "change"


def _mean(values: Tensor) -> Tensor:
    return values.mean(-1)


def _variance(values: Tensor) -> Tensor:
    return spread(values).square()


def _path(found: LearningDynamics) -> Tensor:
    return found.path_to_peak


def _epoch(found: LearningDynamics) -> Tensor:
    return found.epochs.double()[found.peak]


def numbers_of(kind: str) -> list[Number]:
    """The measures that rest on path lengths of a kind.

    Example:
        >>> [number.metric for number in numbers_of("per_step")]
        ['d_mean_per_step', 'd_std_per_step', 'd_var_per_step']
    """
    statistics: dict[str, Statistic] = {"mean": _mean, "std": spread, "var": _variance}
    return [Number(f"d_{name}_{kind}", _path, statistic) for name, statistic in statistics.items()]


def pathless(unit: Unit) -> list[Number]:
    """The measures that need no path lengths.

    Example:
        >>> [number.metric for number in pathless("checkpoint")]
        ['rho', 'checkpoint_of_most_points']
    """
    return [
        Number("rho", lambda found: 100 * found.stability, _mean, "%", "gain"),
        Number(f"{unit}_of_most_points", _epoch, _mean, f"{unit}s"),
    ]


def add_networks(answer: Answer, trained: Mapping[tuple[Subject, str], Trained], timing: Timing) -> None:
    """Add the measures of every network: per seed, and over seeds (`seed=None`)."""
    groups: dict[tuple[str, str], list[Subject]] = {}
    for subject, layer in trained:
        groups.setdefault((subject.name, layer), []).append(subject)
    for (name, layer), subjects in groups.items():
        of_name = [trained[subject, layer] for subject in subjects]
        seeds = [subject.seed for subject in subjects]
        for number, values in _measures(of_name, timing):
            row = Row(number.metric, 0.0, model=name, layer=layer, unit=number.unit)
            _add(answer, row, seeds, number, [values], timing)


def add_changes(
    answer: Answer,
    trios: Sequence[Trio],
    layer: str,
    other: str,
    trained: Mapping[tuple[Subject, str], Trained],
    timing: Timing,
) -> None:
    """Add what one student's measures are beyond its baseline's, paired by image and seed.

    Args:
        answer: gets the rows.
        trios: of one student, one a seed.
        layer: the student's.
        other: the baseline's.
        trained: what was measured.
        timing: how it is counted.
    """
    student, baseline = trios[0].student.name, trios[0].baseline.name
    both = [trained[t.student, layer] for t in trios] + [trained[t.baseline, other] for t in trios]
    for number, values in _measures(both, timing):
        mine, others = values[: len(trios)], values[len(trios) :]

        unit = "points" if number.unit == "%" else number.unit
        metric = f"{number.metric}_{number.ending}"
        row = Row(metric, 0.0, model=student, compared_with=baseline, layer=layer, unit=unit)
        _add(answer, row, [t.student.seed for t in trios], number, [mine, others], timing)


def _measures(trained: Sequence[Trained], timing: Timing) -> list[tuple[Number, Tensor]]:
    """All measures that are known of all these networks, with their values `(networks, n)`."""
    measures = []
    kinds = [kind for kind in KINDS if all(kind in one.paths for one in trained)]
    for kind, numbers in [("", pathless(timing.unit)), *((kind, numbers_of(kind)) for kind in kinds)]:
        found = timing.of(trained, kind)
        if int(found[0].counted.sum()) >= 2:
            measures += [(n, torch.stack([n.values(one) for one in found]).double()) for n in numbers]
    return measures


def _add(
    answer: Answer, row: Row, seeds: Sequence[int], number: Number, values: Sequence[Tensor], timing: Timing
) -> None:
    """One row a seed and one over seeds, of the measure of `values[0]`, less that of `values[1]` where it is given."""
    n = values[0].shape[1]
    generator = torch.Generator().manual_seed(timing.counting.seed)
    drawn = torch.randint(n, (DRAWS, n), generator=generator)
    value, draws = (_measure(number, values, images) for images in (torch.arange(n)[None], drawn))  # (seeds, draws)
    for place, seed in enumerate(seeds):
        known = percentile_interval(value[place].item(), draws[place], n)
        answer.add(with_interval(replace(row, seed=seed), known))
    over_images = percentile_interval(value.mean().item(), draws.mean(0), n)
    answer.add(with_interval(row, in_quadrature(over_images, seed_interval(value[:, 0].tolist()))))


def _measure(number: Number, values: Sequence[Tensor], images: Tensor) -> Float[Tensor, "seeds draws"]:
    mine, *others = (number.statistic(one[:, images]) for one in values)
    return mine - others[0] if others else mine
