"""The planted benchmark: do maps of what a student has from its teacher show just that?"""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from kdlens.bench import METHODS
from kdlens.bench.recipes import recipe_of
from kdlens.bench.trials import DIRECTIONS, Direction, Trial, trials_of
from kdlens.bench.triples import load_triple
from kdlens.data.planted import CUES, WORLDS
from kdlens.errors import ConfigError, UnknownNameError, did_you_mean
from kdlens.progress import Stages
from kdlens.stats import Interval, bootstrap_mean


@dataclass(frozen=True)
class Line:
    """One method on one world and direction, all seeds together; numbers are None where every map is empty.

    Attributes:
        world: name of the world, or `"mean"` over all worlds.
        direction: `"distilled"` or `"residual"`.
        method: name of the method.
        right: mean overlap of the maps' shares with the truth, in [0, 1].
        low: lower end of the 95 % bootstrap interval over images; None for the mean over worlds.
        high: its upper end.
        chance: overlap of a constant map.
        taught: mean share of the maps on the taught cue.
        shared: on the shared cue.
        other: on the other cue.
        elsewhere: on no cue.
        empty: share of maps with no positive part.
        images: number of images that were scored.
        truth: measured shares of taught, shared and other cue.
    """

    world: str
    direction: Direction
    method: str
    right: float | None
    low: float | None
    high: float | None
    chance: float | None
    taught: float | None
    shared: float | None
    other: float | None
    elsewhere: float | None
    empty: float
    images: int
    truth: tuple[float, ...]


@dataclass(frozen=True)
class Results:
    """What the benchmark found.

    Attributes:
        arch: architecture of the networks.
        seeds: number of seeds.
        lines: one for each world, direction and method, then the means over the worlds.
    """

    arch: str
    seeds: int
    lines: list[Line]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it."""
        return asdict(self)

    def __str__(self) -> str:
        from kdlens.bench.table import table

        return table(self.lines)


def run_planted(
    worlds: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    *,
    arch: str = "cnn",
    seeds: int = 1,
    images: int = 48,
    kd: bool = True,
    cache: str | os.PathLike[str] | None = None,
    say: Stages | None = None,
) -> Results:
    """Score methods on planted worlds.

    Args:
        worlds: names from `kdlens.data.planted.WORLDS`; all by default.
        methods: names from `kdlens.bench.METHODS`; all by default.
        arch: `"cnn"`, `"resnet"` or `"vit"`; the networks of the last two are trained first.
        seeds: how many students and baselines of each world.
        images: for each world, seed and direction.
        kd: whether the students learned from a teacher; otherwise from labels.
        cache: folder for trained networks; see `load_triple`.
        say: told about every stage.

    Raises:
        UnknownNameError: no such world, method or architecture.
        ConfigError: fewer than one seed or four images.

    Example:
        >>> results = run_planted(["columns"], ["gradcam"], images=8)
        >>> [(line.world, line.direction, line.method) for line in results.lines]
        [('columns', 'distilled', 'gradcam'), ('columns', 'residual', 'gradcam')]
    """
    say = say or Stages()
    worlds = list(WORLDS) if worlds is None or not len(worlds) else _known(worlds, WORLDS, "world")
    methods = METHODS.names() if methods is None or not len(methods) else _known(methods, METHODS, "benchmark method")
    recipe_of(arch)
    if seeds < 1 or images < 4:
        raise ConfigError(f"{seeds} seeds and {images} images tell nothing; use at least 1 seed and 4 images")
    trials: list[Trial] = []
    for world in worlds:
        for seed in range(seeds):
            triple = load_triple(world, arch, seed, kd, cache, say=say)
            say(f"{world}, seed {seed}")
            trials += trials_of(world, seed, triple, methods, images)
    lines = [_line(found) for world in worlds for found in _groups(trials, world, methods)]
    if len(worlds) > 1:
        lines += [_mean(lines, direction, method) for direction in DIRECTIONS for method in methods]
    return Results(arch, seeds, lines)


def _known(names: Sequence[str], known: Iterable[str], what: str) -> list[str]:
    known = list(known)
    for name in names:
        if name not in known:
            hint = did_you_mean(str(name), known)
            raise UnknownNameError(f'unknown {what} "{name}"{hint or "."} Known: {", ".join(known)}')
    return list(dict.fromkeys(names))


def _groups(trials: Sequence[Trial], world: str, methods: Sequence[str]) -> list[list[Trial]]:
    """Trials that differ in their seed only."""
    return [
        [t for t in trials if (t.world, t.direction, t.method) == (world, direction, method)]
        for direction in DIRECTIONS
        for method in methods
    ]


def _line(trials: Sequence[Trial]) -> Line:
    first, scores = trials[0], [trial.score for trial in trials]
    right = torch.cat([s.right for s in scores])
    interval = bootstrap_mean(right, seed=0) if len(right) else Interval(math.nan, math.nan, math.nan, 0)
    on_cues = torch.cat([s.shares for s in scores]).mean(0).tolist()
    numbers = {
        "right": interval.value,
        "low": interval.low,
        "high": interval.high,
        "chance": torch.cat([s.chance for s in scores]).mean().item(),
        **dict(zip(CUES, on_cues, strict=True)),
        "elsewhere": torch.cat([s.elsewhere for s in scores]).mean().item(),
    }
    return Line(
        world=first.world,
        direction=first.direction,
        method=first.method,
        empty=sum(s.empty for s in scores) / len(scores),
        images=len(right),
        truth=tuple(torch.stack([trial.measured for trial in trials]).mean(0).tolist()),
        **{name: None if math.isnan(value) else value for name, value in numbers.items()},
    )


def _mean(lines: Sequence[Line], direction: Direction, method: str) -> Line:
    """The mean over worlds, each counting the same."""
    own = [line for line in lines if (line.direction, line.method) == (direction, method)]

    def mean(name: str) -> float | None:
        values = [value for line in own if (value := getattr(line, name)) is not None]
        return sum(values) / len(values) if values else None

    return Line(
        world="mean",
        direction=direction,
        method=method,
        low=None,
        high=None,
        empty=sum(line.empty for line in own) / len(own),
        images=sum(line.images for line in own),
        truth=tuple(sum(values) / len(own) for values in zip(*(line.truth for line in own), strict=True)),
        **{name: mean(name) for name in ("right", "chance", *CUES, "elsewhere")},
    )
