"""Learning-rate schedules: pure functions of the progress, so that there is no state to store."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from kdlens.errors import ConfigError
from kdlens.training.optimizers import name_and_options

SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"warmup": 0},
    "cosine": {"warmup": 0, "final": 0.0},
    "step": {"warmup": 0, "milestones": None, "gamma": 0.1},
    "one-cycle": {"peak": 0.3, "start": 0.04, "final": 1e-4},
    "ltb": {},
}


def resolve_schedule(given: str | Mapping[str, Any], epochs: int) -> dict[str, Any]:
    """Return name and all options of a schedule.

    Options: `warmup`, epochs of linear increase; `final`, the last learning rate as a share of the largest;
    `milestones`, epochs after which the rate is multiplied by `gamma` (default: 62.5, 75 and 87.5 % of the epochs, the
    150/180/210 of 240 of the CIFAR-100 literature); `peak`, the share of the steps at which one-cycle is highest and
    `start`, where it begins. `ltb` is the schedule of the network released with KDExplainer: a quarter, a half, then
    falling by every second epoch towards 9 epochs after the end.

    Raises:
        ConfigError: an unknown or senseless option.

    Example:
        >>> resolve_schedule("step", 240)["milestones"]
        [150.0, 180.0, 210.0]
    """
    resolved = name_and_options("schedule", given, SCHEDULES)
    if resolved["name"] == "step" and resolved["milestones"] is None:
        resolved["milestones"] = [epochs * share for share in (0.625, 0.75, 0.875)]
    if not 0 <= resolved.get("warmup", 0) <= epochs:
        raise ConfigError(f"warmup must lie between 0 and the {epochs} epochs, not {resolved['warmup']}")
    if not 0 < resolved.get("peak", 0.5) < 1:
        raise ConfigError(f"peak must lie between 0 and 1, not {resolved['peak']}")
    return resolved


def make_schedule(resolved: Mapping[str, Any], epochs: int, steps: int) -> Callable[[int], float]:
    """Return the factor on the learning rate at a step, counted from 0 over the whole training.

    Args:
        resolved: from `resolve_schedule`.
        epochs: epochs of the training.
        steps: steps an epoch.

    Example:
        >>> factor = make_schedule(resolve_schedule("cosine", 2), epochs=2, steps=2)
        >>> [round(factor(t), 3) for t in range(4)]
        [1.0, 0.854, 0.5, 0.146]
    """
    total = epochs * steps
    shape = _SHAPES[resolved["name"]](resolved, epochs)
    warm = round(resolved.get("warmup", 0) * steps)

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / (warm + 1)
        return shape((step - warm) / max(1, total - warm), step / steps)

    return factor


Shape = Callable[[float, float], float]
"""From (share of the training after the warmup, epochs done) to the factor."""


def _constant(options: Mapping[str, Any], epochs: int) -> Shape:
    return lambda share, epoch: 1.0


def _cosine(options: Mapping[str, Any], epochs: int) -> Shape:
    return lambda share, epoch: _half_cosine(1.0, options["final"], share)


def _step(options: Mapping[str, Any], epochs: int) -> Shape:
    return lambda share, epoch: options["gamma"] ** sum(epoch >= milestone for milestone in options["milestones"])


def _one_cycle(options: Mapping[str, Any], epochs: int) -> Shape:
    peak, start, final = options["peak"], options["start"], options["final"]

    def shape(share: float, epoch: float) -> float:
        if share < peak:
            return _half_cosine(start, 1.0, share / peak)
        return _half_cosine(1.0, final, (share - peak) / (1 - peak))

    return shape


def _ltb(options: Mapping[str, Any], epochs: int) -> Shape:
    def shape(share: float, epoch: float) -> float:
        if epoch < 2:
            return 0.25 if epoch < 1 else 0.5
        return 1.0 if epoch < 4 else 1 - (int(epoch) // 2 * 2) / (epochs + 9)

    return shape


def _half_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, share))) / 2


_SHAPES: dict[str, Callable[[Mapping[str, Any], int], Shape]] = {
    "constant": _constant,
    "cosine": _cosine,
    "step": _step,
    "one-cycle": _one_cycle,
    "ltb": _ltb,
}
