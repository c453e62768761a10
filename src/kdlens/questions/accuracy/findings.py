"""What the accuracy rows say, in sentences; and what a reader must know before trusting them."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.questions.accuracy.judged import Judged, Pair
from kdlens.questions.accuracy.verdict import TONE, points_of, reason, verdict_of
from kdlens.questions.phrases import counted, listed, number, p_value, points, span
from kdlens.stats.resampling import Interval

FEW_IMAGES = 200
CEILING = 99.5
CERTAIN = 0.05
"""Corrected p-value below which a class is said to gain or lose."""


def say_all(
    answer: Answer,
    judged: Mapping[str, Judged],
    pairs: Sequence[Pair],
    labels: Int[Tensor, " n"],
    classes: Sequence[str],
    *,
    margin: float,
) -> None:
    """Add the verdict of every student, then the findings, then the alerts."""
    for pair in pairs:
        _verdict(answer, pair, margin)
    for pair in pairs:
        _images(answer, pair)
        _classes(answer, pair)
        _calibration(answer, pair)
        _likeness(answer, pair)
    _data_alerts(answer, labels, classes)
    _network_alerts(answer, judged)
    for pair in pairs:
        _pair_alerts(answer, pair)


def _verdict(answer: Answer, pair: Pair, margin: float) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    i, gain = _find(answer, "top1_gain", model=student, seed=None)
    j, mine = _find(answer, "top1", model=student, seed=None)
    k, other = _find(answer, "top1", model=baseline, seed=None)
    interval = Interval(gain.value, gain.low or 0.0, gain.high or 0.0, gain.n or 0)
    verdict = verdict_of(interval, margin)
    seeds = counted(len(pair.student.seeds), "seed")
    text = (
        f"{verdict}: {student} names {number(mine.value)} % of the images right, {baseline} {number(other.value)} %: "
        f"{points(gain.value, gain.low, gain.high)} (95 % interval, n = {counted(interval.n, 'image')}, {seeds}). "
        f"By the rule, because {reason(verdict, interval, margin)}."
    )
    if verdict == "INCONCLUSIVE":
        text += _what_it_takes(interval, margin, len(pair.student.seeds))
    answer.say(text, rows=[i, j, k], kind="verdict", tone=TONE[verdict])


def _what_it_takes(gain: Interval, margin: float, seeds: int) -> str:
    if margin == 0:
        return ""
    if seeds > 1:
        return " More seeds or more images would narrow it."
    half = (gain.high - gain.low) / 2
    needed = round(gain.n * (half / margin) ** 2, -2)
    return f" About {max(int(needed), gain.n):,} images like these would narrow it to {points_of(margin)} either way."


def _images(answer: Answer, pair: Pair) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    several = len(pair.student.seeds) > 1
    h, helped = _find(answer, "helped_images", model=student, seed=None)
    u, hurt = _find(answer, "hurt_images", model=student, seed=None)
    g, gain = _find(answer, "top1_gain", model=student, seed=None)
    digits = 1 if several else 0
    test = "" if several else f"; exact McNemar {p_value(gain.p)}"
    each = "on average over the seeds, " if several else ""
    text = (
        f"{student} helps {number(helped.value, digits)} images that {baseline} gets wrong and hurts "
        f"{number(hurt.value, digits)} that it gets right ({each}n = {counted(helped.n or 0, 'image')}{test})."
    )
    answer.say(text, rows=[h, u, g])
    if several:
        rows = [_find(answer, "top1_gain", model=student, seed=seed) for seed in pair.student.seeds]
        t, by_seed = _find(answer, "top1_gain_by_seed", model=student)
        gains = listed([number(row.value, signed=True) for _, row in rows])
        text = (
            f"By seed, {student} gains {gains} points; mean and Student's t interval over {len(rows)} seeds alone: "
            f"{points(by_seed.value, by_seed.low, by_seed.high)}."
        )
        answer.say(text, rows=[*(i for i, _ in rows), t])


def _classes(answer: Answer, pair: Pair) -> None:
    found = [(i, r) for i, r in enumerate(answer.rows) if r.metric == "class_gain" and r.model == pair.student.name]
    sure = [(i, r) for i, r in found if r.p is not None and r.p < CERTAIN and not (r.low or 0) <= 0 <= (r.high or 0)]
    if len(found) < 2:
        return
    count = f"over {counted(len(found), 'class', 'classes')}"
    if not sure:
        text = f"No single class gains or loses for certain with {pair.student.name} (Holm's correction {count})."
        answer.say(text, rows=[i for i, _ in found])
        return
    for verb, chosen in (
        ("gains", sorted((x for x in sure if x[1].value > 0), key=lambda x: -x[1].value)),
        ("loses", sorted((x for x in sure if x[1].value < 0), key=lambda x: x[1].value)),
    ):
        if chosen:
            classes = listed([_class_phrase(row) for _, row in chosen], most=3)
            text = f"{pair.student.name} {verb} on {classes} (p with Holm's correction {count})."
            answer.say(text, rows=[i for i, _ in chosen], tone="good" if verb == "gains" else "bad")


def _class_phrase(row: Row) -> str:
    gain = points(row.value, row.low, row.high)
    return f'"{row.class_name}" ({gain}, n = {counted(row.n or 0, "image")}, {p_value(row.p)})'


def _calibration(answer: Answer, pair: Pair) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    i, mine = _find(answer, "ece", model=student, seed=None)
    j, other = _find(answer, "ece", model=baseline, seed=None)
    gap = max((mine.low or 0) - (other.high or 0), (other.low or 0) - (mine.high or 0))
    better = mine.value < other.value
    if gap > 0:
        says = f"{student} is {'better' if better else 'worse'} calibrated than {baseline}"
    else:
        says = f"{student} and {baseline} do not differ clearly in calibration"
    text = (
        f"{says}: expected calibration error {number(mine.value, 3)}{span(mine.low, mine.high, 3)} against "
        f"{number(other.value, 3)}{span(other.low, other.high, 3)} (n = {counted(mine.n or 0, 'image')}; a perfectly "
        f"calibrated network would show {number(mine.chance or 0, 3)} by chance)."
    )
    answer.say(text, rows=[i, j], tone=("good" if better else "bad") if gap > 0 else "neutral")


def _likeness(answer: Answer, pair: Pair) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    if not answer.select(metric="agreement_gain", model=student):
        return
    i, change = _find(answer, "agreement_gain", model=student)
    j, mine = _find(answer, "agreement", model=student, seed=None)
    k, other = _find(answer, "agreement", model=baseline, seed=None)
    m, distance = _find(answer, "kl_change", model=student)
    sure = not (change.low or 0) <= 0 <= (change.high or 0)
    more = ("more" if change.value > 0 else "less") + " often than"
    text = (
        f"{student} agrees with {mine.compared_with} {more if sure else 'about as often as'} {baseline}: "
        f"{number(mine.value)} % against {number(other.value)} % of the images, "
        f"{points(change.value, change.low, change.high)}; its KL divergence from the teacher's probabilities "
        f"changes by {number(distance.value, 3, signed=True)} nats{span(distance.low, distance.high, 3)} "
        f"(n = {counted(change.n or 0, 'image')})."
    )
    answer.say(text, rows=[i, j, k, m])


def _data_alerts(answer: Answer, labels: Tensor, classes: Sequence[str]) -> None:
    counts = torch.bincount(labels, minlength=len(classes))
    empty = [f'"{name}"' for name, count in zip(classes, counts.tolist(), strict=True) if count == 0]
    present = len(classes) - len(empty)
    if present == 1:
        only = classes[int(counts.argmax())]
        text = (
            f'All {len(labels):,} images are of one class, "{only}": accuracy says nothing about telling classes apart.'
        )
        answer.say(text, kind="alert", tone="bad")
    elif empty:
        text = (
            f"{counted(len(empty), 'class', 'classes')} of {len(classes)} {'has' if len(empty) == 1 else 'have'} no "
            f"images and cannot be judged: {listed(empty)}."
        )
        answer.say(text, kind="alert", tone="bad")
    if len(labels) < FEW_IMAGES:
        text = (
            f"Only {counted(len(labels), 'image')}: the intervals are wide. Several hundred images or more are better."
        )
        answer.say(text, kind="alert", tone="bad")


def _network_alerts(answer: Answer, judged: Mapping[str, Judged]) -> None:
    for network in judged.values():
        for seed, finite in zip(network.seeds, torch.isfinite(network.logits).all(-1), strict=True):
            wrong = int((~finite).sum())
            if wrong:
                text = (
                    f"{_label(network, seed)} gives NaN or infinite logits for {wrong:,} of "
                    f"{counted(len(finite), 'image')}; they count as wrong, and are left out of log-loss, calibration "
                    "and KL."
                )
                answer.say(text, kind="alert", tone="bad")
        if network.role == "baseline":
            i, top1 = _find(answer, "top1", model=network.name, seed=None)
            if top1.value >= CEILING:
                text = f"{network.name} names {number(top1.value)} % of the images right: there is no room to gain."
                answer.say(text, rows=[i], kind="alert")
    for i, row in enumerate(answer.rows):
        if row.metric == "teacher_advantage" and (row.low or 0) <= 0:
            text = (
                f"{row.model} is not clearly better than {row.compared_with}: {points(row.value, row.low, row.high)} "
                f"top-1 (n = {counted(row.n or 0, 'image')}). There may be little to distil."
            )
            answer.say(text, rows=[i], kind="alert", tone="bad")


def _pair_alerts(answer: Answer, pair: Pair) -> None:
    student, baseline, seeds = pair.student.name, pair.baseline.name, len(pair.student.seeds)
    i, _ = _find(answer, "top1_gain", model=student, seed=None)
    if seeds == 1:
        text = (
            f"One seed: the interval of {student}'s gain covers the choice of images, not the luck of training. It "
            "speaks of these two networks; three seeds or more speak of the method."
        )
        answer.say(text, rows=[i], kind="alert")
    elif pair.baseline_count < seeds:
        text = (
            f"{student} has {seeds} seeds but is compared with {counted(pair.baseline_count, 'baseline')}: how the "
            "baseline varies from training to training is not fully in the interval."
        )
        answer.say(text, rows=[i], kind="alert", tone="bad")
    gains = [_find(answer, "top1_gain", model=student, seed=seed) for seed in pair.student.seeds]
    if min(row.value for _, row in gains) < 0 < max(row.value for _, row in gains):
        values = listed([number(row.value, signed=True) for _, row in gains])
        text = f"The seeds of {student} disagree about the sign of the gain: {values} points."
        answer.say(text, rows=[index for index, _ in gains], kind="alert", tone="bad")
    same = [torch.equal(s, b) for s, b in zip(pair.student.logits, pair.baseline.logits, strict=True)]
    for seed, equal in zip(pair.student.seeds, same, strict=True):
        if equal:
            text = (
                f"{_label(pair.student, seed)} and {baseline} give exactly the same logits for every image: the same "
                "weights may have been loaded twice."
            )
            answer.say(text, rows=[i], kind="alert", tone="bad")


def _find(answer: Answer, metric: str, **columns: object) -> tuple[int, Row]:
    """The one row that fits, with its index."""
    row = next(iter(answer.select(metric=metric, **columns)))
    return answer.rows.index(row), row


def _label(network: Judged, seed: int) -> str:
    return network.name if len(network.seeds) == 1 else f"{network.name} (seed {seed})"
