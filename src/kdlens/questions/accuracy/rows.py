"""Rows of the accuracy answer: how good each network is, and how student and baseline differ."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.accuracy.classification import (
    agreement,
    brier,
    calibration_error,
    calibration_null,
    confidence,
    finite_rows,
    kl_to,
    nll,
)
from kdlens.questions.accuracy.judged import Judged, Pair
from kdlens.questions.rows import over_seeds, percent, points, with_interval
from kdlens.stats.paired import (
    crossed_difference,
    crossed_mean,
    crossed_p,
    hierarchical_bootstrap,
    sign_flip_p,
    wilson,
)
from kdlens.stats.resampling import Interval, bootstrap, bootstrap_mean, holm, mcnemar, permutation_p, seed_interval

Labels = Int[Tensor, " n"]


def add_quality(
    answer: Answer, network: Judged, teacher: Judged | None, labels: Labels, *, bins: int, seed: int
) -> None:
    """Add top-1, log-loss, Brier score, calibration and likeness to the teacher; per seed and over seeds."""
    found: dict[str, list[Row]] = {}
    for index, (number, logits, right) in enumerate(zip(network.seeds, network.logits, network.right, strict=True)):
        base = Row("", 0.0, model=network.name, seed=number)
        rows = _quality(base, logits, right, labels, bins=bins, seed=seed + index)
        if teacher is not None and teacher is not network:
            rows += _likeness(base, logits, teacher, seed=seed + index)
        for row in rows:
            found.setdefault(row.metric, []).append(row)
            answer.add(row)
    for rows in found.values():
        answer.add(over_seeds(rows))


def add_teacher_advantage(answer: Answer, teacher: Judged, baseline: Judged, *, seed: int) -> None:
    """Add by how many points the teacher is better than the baseline: what there is to gain."""
    interval = crossed_difference(teacher.right[0].float() - baseline.right.float(), seed=seed)
    answer.add(points(Row("teacher_advantage", 0.0, model=teacher.name, compared_with=baseline.name), interval))


def add_gain(answer: Answer, pair: Pair, teacher: Judged | None, labels: Labels, *, seed: int) -> None:
    """Add gain, helped and hurt images, changes of log-loss and likeness to the teacher; per seed and over seeds."""
    differences = pair.differences
    base = Row("top1_gain", 0.0, model=pair.student.name, compared_with=pair.baseline.name)
    for number, one in zip(pair.student.seeds, differences, strict=True):
        helped, hurt = int((one > 0).sum()), int((one < 0).sum())
        p = mcnemar(hurt, helped)
        answer.add(points(replace(base, seed=number, p=p), crossed_difference(one[None], seed=seed)))
        for metric, count in (("helped_images", helped), ("hurt_images", hurt)):
            answer.add(replace(base, metric=metric, value=float(count), seed=number, n=len(one), unit="images"))
    seeds, n = differences.shape
    p_all = sign_flip_p(differences[0].long()) if seeds == 1 else None
    answer.add(points(replace(base, p=p_all), crossed_difference(differences, seed=seed)))
    for metric, sign in (("helped_images", 1), ("hurt_images", -1)):
        mean = (differences == sign).sum().item() / seeds
        answer.add(replace(base, metric=metric, value=mean, n=n, unit="images"))
    if seeds > 1:
        by_seed = seed_interval((100 * differences.mean(1, dtype=torch.float64)).tolist())
        answer.add(with_interval(replace(base, metric="top1_gain_by_seed", unit="points"), by_seed))
        answer.add(points(replace(base, metric="top1_gain_resampled"), hierarchical_bootstrap(differences, seed=seed)))
    _add_changes(answer, base, pair, teacher, labels, seed=seed)


def add_class_gains(answer: Answer, pair: Pair, labels: Labels, classes: Sequence[str], *, seed: int) -> None:
    """Add the gain of every class that has images, over seeds; p corrected for the number of classes."""
    rows, p = [], []
    for index, name in enumerate(classes):
        of_class = pair.differences[:, labels == index]
        if of_class.shape[1] == 0:
            continue
        base = Row("class_gain", 0.0, model=pair.student.name, compared_with=pair.baseline.name, class_name=name)
        rows.append(points(base, crossed_difference(of_class, seed=seed + index)))
        p.append(crossed_p(of_class, seed=seed + index))
    for row, corrected in zip(rows, holm(p), strict=True):
        answer.add(replace(row, p=corrected))


def _quality(base: Row, logits: Tensor, right: Tensor, labels: Tensor, *, bins: int, seed: int) -> list[Row]:
    classes, n = logits.shape[1], len(labels)
    top1 = with_interval(
        replace(base, metric="top1", chance=100 / classes, unit="%"), percent(wilson(int(right.sum()), n))
    )
    finite = finite_rows(logits)
    logits, labels, right = logits[finite], labels[finite], right[finite]
    loss = bootstrap_mean(nll(logits, labels), seed=seed)
    score = bootstrap_mean(brier(logits, labels), seed=seed)
    return [
        top1,
        with_interval(replace(base, metric="nll", chance=math.log(classes), unit="nats"), loss),
        with_interval(replace(base, metric="brier", chance=1 - 1 / classes), score),
        _calibration(replace(base, metric="ece"), logits, right, bins=bins, adaptive=False, seed=seed),
        _calibration(replace(base, metric="ece_adaptive"), logits, right, bins=bins, adaptive=True, seed=seed),
    ]


def _calibration(base: Row, logits: Tensor, right: Tensor, *, bins: int, adaptive: bool, seed: int) -> Row:
    sure = confidence(logits)

    def error(index: Tensor) -> float:
        return calibration_error(sure[index], right[index], bins=bins, adaptive=adaptive)

    found = bootstrap(error, len(sure), seed=seed, draws=200)
    # resampling adds bias of its own to an error of absolute values, so only the width of the interval is taken
    half = (found.high - found.low) / 2
    null = calibration_null(sure, seed=seed, bins=bins, adaptive=adaptive)
    centred = Interval(found.value, max(0.0, found.value - half), found.value + half, found.n)
    return replace(with_interval(base, centred), chance=null.mean().item(), p=permutation_p(found.value, null))


def _likeness(base: Row, logits: Tensor, teacher: Judged, *, seed: int) -> list[Row]:
    base = replace(base, compared_with=teacher.name)
    alike = agreement(logits, teacher.logits[0])
    both = finite_rows(logits) & finite_rows(teacher.logits[0])
    rows = [with_interval(replace(base, metric="agreement", unit="%"), percent(wilson(int(alike.sum()), len(alike))))]
    if bool(both.any()):
        distance = bootstrap_mean(kl_to(teacher.logits[0][both], logits[both]), seed=seed)
        rows.append(with_interval(replace(base, metric="kl_to_teacher", unit="nats"), distance))
    return rows


def _add_changes(answer: Answer, base: Row, pair: Pair, teacher: Judged | None, labels: Tensor, *, seed: int) -> None:
    """Differences of means, student minus baseline, over seeds; images without finite logits are left out."""
    student, baseline = pair.student.logits, pair.baseline.logits
    keep = pair.student.finite & pair.baseline.finite & (teacher.finite if teacher else True)
    if not bool(keep.any()):
        return
    student, baseline, labels = student[:, keep], baseline[:, keep], labels[keep]
    loss = torch.stack([nll(s, labels) - nll(b, labels) for s, b in zip(student, baseline, strict=True)])
    answer.add(with_interval(replace(base, metric="nll_change", unit="nats"), crossed_mean(loss, seed=seed)))
    if teacher is None:
        return
    target = teacher.logits[0][keep]
    alike = _stack_differences(student, baseline, lambda one: agreement(one, target).double())
    answer.add(points(replace(base, metric="agreement_gain"), crossed_difference(alike, seed=seed)))
    distance = _stack_differences(student, baseline, lambda one: kl_to(target, one))
    answer.add(with_interval(replace(base, metric="kl_change", unit="nats"), crossed_mean(distance, seed=seed)))


def _stack_differences(
    student: Tensor, baseline: Tensor, measure: Callable[[Tensor], Tensor]
) -> Float[Tensor, "seeds n"]:
    return torch.stack([measure(s) - measure(b) for s, b in zip(student, baseline, strict=True)])


def find_row(answer: Answer, metric: str, **columns: object) -> tuple[int, Row]:
    """The first row that fits, with its index."""
    row = next(iter(answer.select(metric=metric, **columns)))
    return answer.rows.index(row), row
