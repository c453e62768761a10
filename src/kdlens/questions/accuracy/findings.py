"""What the accuracy rows say, in sentences."""

from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.questions.accuracy.judged import Judged, Pair
from kdlens.questions.accuracy.rows import find_row
from kdlens.questions.accuracy.verdict import TONE, points_of, reason, verdict_of
from kdlens.questions.named import named
from kdlens.questions.phrases import (
    counted,
    digits_that_add_up,
    listed,
    number,
    p_value,
    points,
    quoted,
    span,
)
from kdlens.stats.resampling import Interval

CERTAIN = 0.05
"""Corrected p-value below which a class is said to gain or lose."""

FEWEST = 30
"""Images below which an interval says too little of how many more would do."""


def say_all(answer: Answer, pairs: Sequence[Pair], *, margin: float) -> None:
    """Add the verdict of every student, then the findings."""
    for pair in pairs:
        _verdict(answer, pair, margin)
    for pair in pairs:
        _images(answer, pair)
        _classes(answer, pair)
        _calibration(answer, pair)
        _likeness(answer, pair, margin)


def _verdict(answer: Answer, pair: Pair, margin: float) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    i, gain = find_row(answer, "top1_gain", model=student, seed=None)
    j, mine = find_row(answer, "top1", model=student, seed=None)
    k, other = find_row(answer, "top1", model=baseline, seed=None)
    interval = Interval(gain.value, gain.low or 0.0, gain.high or 0.0, gain.n or 0)
    verdict = verdict_of(interval, margin)
    seeds = counted(len(pair.student.seeds), "seed")
    digits = digits_that_add_up(mine.value, other.value, gain.value)
    text = (
        f"{verdict}: {student} names {number(mine.value, digits)} % of the images right, {baseline} "
        f"{number(other.value, digits)} %: {points(gain.value, gain.low, gain.high, digits)} "
        f"(95 % interval, n = {counted(interval.n, 'image')}, {seeds}). "
        f"The rule says so because {reason(verdict, interval, margin)}."
    )
    if verdict == "INCONCLUSIVE":
        text += _what_it_takes(interval, margin, len(pair.student.seeds))
    answer.say(text, rows=[i, j, k], kind="verdict", tone=TONE[verdict])


def _what_it_takes(gain: Interval, margin: float, seeds: int) -> str:
    if margin == 0:
        return ""
    if seeds > 1:
        return " More seeds or more images would narrow it."
    if gain.n < FEWEST:
        return " More images would narrow it; these are too few to say how many."
    half = (gain.high - gain.low) / 2
    needed = round(gain.n * (half / margin) ** 2, -2)
    images = counted(max(int(needed), gain.n), "image")
    return f" About {images} like these would narrow it to {points_of(margin)} either way."


def _images(answer: Answer, pair: Pair) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    several = len(pair.student.seeds) > 1
    h, helped = find_row(answer, "helped_images", model=student, seed=None)
    u, hurt = find_row(answer, "hurt_images", model=student, seed=None)
    g, gain = find_row(answer, "top1_gain", model=student, seed=None)
    test = "" if several else f"; exact McNemar {p_value(gain.p)}"
    each = "on average over the seeds, " if several else ""
    text = (
        f"{student} helps {counted(helped.value, 'image')} that {baseline} gets wrong and hurts "
        f"{counted(hurt.value, 'image')} that it gets right ({each}n = {counted(helped.n or 0, 'image')}{test})."
    )
    answer.say(text, rows=[h, u, g])
    if several:
        rows = [find_row(answer, "top1_gain", model=student, seed=seed) for seed in pair.student.seeds]
        t, by_seed = find_row(answer, "top1_gain_by_seed", model=student)
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
            text = f"{pair.student.name} {verb} on {classes}; p with Holm's correction {count}."
            answer.say(text, rows=[i for i, _ in chosen], tone="good" if verb == "gains" else "bad")


def _class_phrase(row: Row) -> str:
    gain = points(row.value, row.low, row.high)
    return f"{quoted(row.class_name)} ({gain}, n = {counted(row.n or 0, 'image')}, {p_value(row.p)})"


def _calibration(answer: Answer, pair: Pair) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    i, mine = find_row(answer, "ece", model=student, seed=None)
    j, other = find_row(answer, "ece", model=baseline, seed=None)
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
    tells = gap > 0 and not (_one_answer(pair.student) or _one_answer(pair.baseline))
    answer.say(text, rows=[i, j], tone=("good" if better else "bad") if tells else "neutral")


def _one_answer(network: Judged) -> bool:
    """Whether a seed of it gives one answer to everything, which is easily calibrated and worth nothing."""
    return any(len(named(logits).unique()) == 1 for logits in network.logits)


def _likeness(answer: Answer, pair: Pair, margin: float) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    if not answer.select(metric="agreement_gain", model=student):
        return
    i, change = find_row(answer, "agreement_gain", model=student)
    j, mine = find_row(answer, "agreement", model=student, seed=None)
    k, other = find_row(answer, "agreement", model=baseline, seed=None)
    m, distance = find_row(answer, "kl_change", model=student)
    digits = digits_that_add_up(mine.value, other.value, change.value)
    text = (
        f"{_how_often(change, student, baseline, mine.compared_with, margin)}: "
        f"{number(mine.value, digits)} % against {number(other.value, digits)} % of the images, "
        f"{points(change.value, change.low, change.high, digits)}; {student}'s KL divergence from "
        f"the teacher's probabilities differs from that of {baseline} by {number(distance.value, 3, signed=True)} nats"
        f"{span(distance.low, distance.high, 3)} (n = {counted(change.n or 0, 'image')})."
    )
    answer.say(text, rows=[i, j, k, m])


def _how_often(change: Row, student: str, baseline: str, teacher: str, margin: float) -> str:
    """Which of the two agrees more often with the teacher; equal only where more than the margin is excluded."""
    low, high = change.low or 0.0, change.high or 0.0
    if low <= 0 <= high and not -margin < low <= high < margin:
        return f"How often {student} agrees with {teacher} does not clearly differ from how often {baseline} does"
    often = "about as often as" if low <= 0 <= high else f"{'more' if change.value > 0 else 'less'} often than"
    return f"{student} agrees with {teacher} {often} {baseline} does"
