"""What the accuracy rows say, in sentences."""

from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.questions.accuracy.judged import Pair
from kdlens.questions.accuracy.rows import find_row
from kdlens.questions.accuracy.verdict import TONE, points_of, reason, verdict_of
from kdlens.questions.phrases import counted, listed, number, p_value, points, span
from kdlens.stats.resampling import Interval

CERTAIN = 0.05
"""Corrected p-value below which a class is said to gain or lose."""


def say_all(answer: Answer, pairs: Sequence[Pair], *, margin: float) -> None:
    """Add the verdict of every student, then the findings."""
    for pair in pairs:
        _verdict(answer, pair, margin)
    for pair in pairs:
        _images(answer, pair)
        _classes(answer, pair)
        _calibration(answer, pair)
        _likeness(answer, pair)


def _verdict(answer: Answer, pair: Pair, margin: float) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    i, gain = find_row(answer, "top1_gain", model=student, seed=None)
    j, mine = find_row(answer, "top1", model=student, seed=None)
    k, other = find_row(answer, "top1", model=baseline, seed=None)
    interval = Interval(gain.value, gain.low or 0.0, gain.high or 0.0, gain.n or 0)
    verdict = verdict_of(interval, margin)
    seeds = counted(len(pair.student.seeds), "seed")
    text = (
        f"{verdict}: {student} names {number(mine.value)} % of the images right, {baseline} {number(other.value)} %: "
        f"{points(gain.value, gain.low, gain.high)} (95 % interval, n = {counted(interval.n, 'image')}, {seeds}). "
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
    helps, hurts = (row.value if several else int(row.value) for row in (helped, hurt))
    test = "" if several else f"; exact McNemar {p_value(gain.p)}"
    each = "on average over the seeds, " if several else ""
    text = (
        f"{student} helps {counted(helps, 'image')} that {baseline} gets wrong and hurts {counted(hurts, 'image')} "
        f"that it gets right ({each}n = {counted(helped.n or 0, 'image')}{test})."
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
    return f'"{row.class_name}" ({gain}, n = {counted(row.n or 0, "image")}, {p_value(row.p)})'


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
    answer.say(text, rows=[i, j], tone=("good" if better else "bad") if gap > 0 else "neutral")


def _likeness(answer: Answer, pair: Pair) -> None:
    student, baseline = pair.student.name, pair.baseline.name
    if not answer.select(metric="agreement_gain", model=student):
        return
    i, change = find_row(answer, "agreement_gain", model=student)
    j, mine = find_row(answer, "agreement", model=student, seed=None)
    k, other = find_row(answer, "agreement", model=baseline, seed=None)
    m, distance = find_row(answer, "kl_change", model=student)
    sure = not (change.low or 0) <= 0 <= (change.high or 0)
    more = ("more" if change.value > 0 else "less") + " often than"
    text = (
        f"{student} agrees with {mine.compared_with} {more if sure else 'about as often as'} {baseline} does: "
        f"{number(mine.value)} % against {number(other.value)} % of the images, "
        f"{points(change.value, change.low, change.high)}; its KL divergence from the teacher's probabilities "
        f"differs from that of {baseline} by {number(distance.value, 3, signed=True)} nats"
        f"{span(distance.low, distance.high, 3)} (n = {counted(change.n or 0, 'image')})."
    )
    answer.say(text, rows=[i, j, k, m])
