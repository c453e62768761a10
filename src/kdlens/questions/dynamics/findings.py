"""What the dynamics rows say, in sentences."""

import math
from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.models.history import Unit
from kdlens.questions.knowledge.hypotheses import judge, together, tone_of
from kdlens.questions.phrases import counted, digits_that_add_up, number, points, span

FEW_CHECKPOINTS = 5


def say_all(answer: Answer, student: str, layer: str, kind: str, unit: Unit = "epoch") -> None:
    """The verdicts on the second and third hypothesis, and when in epochs.

    Args:
        answer: gets the sentences.
        student: its name.
        layer: where.
        kind: of the path lengths the second verdict rests on.
        unit: what moments are counted in.
    """
    if answer.select(metric=f"d_mean_{kind}_change", model=student, layer=layer, seed=None):
        _second_hypothesis(answer, student, layer, kind)
    if answer.select(metric="rho_gain", model=student, layer=layer, seed=None):
        _third_hypothesis(answer, student, layer)
        _when(answer, student, layer, unit)


def _second_hypothesis(answer: Answer, student: str, layer: str, kind: str) -> None:
    mean, spread = (_three(answer, f"d_{which}_{kind}", "change", student, layer) for which in ("mean", "std"))
    verdict = together([judge(change, -1) for (_, change), *_ in (mean, spread)])
    change = mean[0][1]
    text = (
        f"Hypothesis 2, learned sooner and more simultaneously: {verdict} at {layer}. When an image had most points on "
        f"the object, the weights of {student} had travelled {_numbers(mean)} times their first length, those of "
        f"{change.compared_with} {_other(mean)} (D_mean {_difference(mean)}); between images that varies by "
        f"{_numbers(spread)} and {_other(spread)} (D_std {_difference(spread)}; {counted(change.n or 0, 'image')})."
    )
    rows = [i for three in (mean, spread) for i, _ in three]
    answer.say(text, rows=rows, kind="verdict", tone=tone_of(verdict))


def _third_hypothesis(answer: Answer, student: str, layer: str) -> None:
    three = _three(answer, "rho", "gain", student, layer)
    (_, change), (_, mine), (_, other) = three
    verdict, digits = judge(change, 1), digits_that_add_up(mine.value, other.value, change.value)
    text = (
        f"Hypothesis 3, fewer detours: {verdict} at {layer}. Of the cells of the object that were ever points, "
        f"{student} has {number(mine.value, digits)} % at the end and {change.compared_with} "
        f"{number(other.value, digits)} % (rho {points(change.value, change.low, change.high, digits)}; "
        f"{counted(change.n or 0, 'image')})."
    )
    answer.say(text, rows=[i for i, _ in three], kind="verdict", tone=tone_of(verdict))


def _when(answer: Answer, student: str, layer: str, unit: Unit) -> None:
    three = _three(answer, f"{unit}_of_most_points", "change", student, layer)
    change = three[0][1]
    sure = judge(change, 1) == "supported" or judge(change, -1) == "supported"
    at = "after" if unit == "epoch" else "at number"
    text = (
        f"Counted in {unit}s, {student} has most points on the object {at} {_numbers(three)} and "
        f"{change.compared_with} {at} {_other(three)}: {_difference(three)}{'' if sure else ', no clear difference'}."
    )
    answer.say(text, rows=[i for i, _ in three])


Three = list[tuple[int, Row]]


def _three(answer: Answer, metric: str, ending: str, student: str, layer: str) -> Three:
    """The difference, the student's number and the baseline's."""
    change = _find(answer, f"{metric}_{ending}", student, layer)
    baseline = answer.select(metric=metric, model=change[1].compared_with, seed=None)
    same = [r for r in baseline if r.layer == layer] or baseline
    return [change, _find(answer, metric, student, layer), (answer.rows.index(same[-1]), same[-1])]


def _find(answer: Answer, metric: str, model: str, layer: str) -> tuple[int, Row]:
    row = answer.select(metric=metric, model=model, layer=layer, seed=None)[0]
    return answer.rows.index(row), row


def _digits(three: Three) -> int:
    (_, change), (_, mine), (_, other) = three
    least = 1 if change.unit in ("epochs", "checkpoints") else _digits_of_path(max(abs(mine.value), abs(other.value)))
    return max(least, digits_that_add_up(mine.value, other.value, change.value))


def _digits_of_path(length: float) -> int:
    """Two, and for weights that hardly moved as many as show two figures."""
    return 2 if not 0 < length < 0.1 else min(5, 1 - math.floor(math.log10(length)))


def _numbers(three: Three) -> str:
    return number(three[1][1].value, _digits(three))


def _other(three: Three) -> str:
    return number(three[2][1].value, _digits(three))


def _difference(three: Three) -> str:
    change, digits = three[0][1], _digits(three)
    return f"{number(change.value, digits, signed=True)}{span(change.low, change.high, digits)}"


def say_missing(answer: Answer, missing: Sequence[str]) -> None:
    """Networks without a recorded training."""
    if missing:
        names = ", ".join(missing)
        answer.say(
            f"No checkpoints of {names}, so nothing is said of when {'they' if len(missing) > 1 else 'it'} learned: "
            "train with `record: {epochs: log}` and name the training's folder in the study (`training: FOLDER` under "
            "the model) or in kdlens.explain(..., training=...).",
            kind="alert",
            tone="bad",
        )


def say_no_path(answer: Answer, who: str, reason: str) -> None:
    """Path lengths that are not known."""
    answer.say(f"D_mean and D_std are unknown for {who}: {reason}.", kind="alert", tone="bad")


def say_mixed(answer: Answer, listed: Sequence[str], others: Sequence[str]) -> None:
    """Checkpoints of which epochs are known and others of which they are not."""
    answer.say(
        f"The checkpoints of {', '.join(listed)} are given one by one, those of {', '.join(others)} as a training's "
        "folder, so which of them are of the same moment is not known, and they cannot be compared. Give all trainings "
        "as folders, or all as lists.",
        kind="alert",
        tone="bad",
    )


def say_epochs(answer: Answer, common: Sequence[int], dropped: Sequence[int], unit: Unit = "epoch") -> None:
    """Which checkpoints were compared."""
    if dropped:
        numbers = ", ".join(map(str, dropped))
        places = f"number{'s' if len(dropped) > 1 else ''} {numbers} {'are' if len(dropped) > 1 else 'is'}"
        left_out = f"those after {numbers} epochs are" if unit == "epoch" else places
        answer.say(
            f"Only the {len(common)} checkpoints that all networks have are compared; {left_out} left out.",
            kind="alert",
        )
    if len(common) < FEW_CHECKPOINTS:
        answer.say(
            f"Only {len(common)} checkpoints: when something was learned is known no better than that, and rho is high "
            "for want of chances to fall.",
            kind="alert",
            tone="bad",
        )


def say_never(answer: Answer, who: str, never: int, n: int) -> None:
    """Images whose object never has a point."""
    if 4 * never > n:
        answer.say(
            f"{who} has no point on the object of {never} of {counted(n, 'image')} at any checkpoint; their m-hat is "
            "the first checkpoint and their rho 0, by definition. Look at the curves, or lower the threshold.",
            kind="alert",
        )


def say_left_out(answer: Answer, who: str, rejected: int, n: int) -> None:
    """Images that were rejected at some checkpoint."""
    if rejected:
        answer.say(
            f"{who} rejects {rejected} of {counted(n, 'image')} at some checkpoint: no feature moves when they are "
            "disturbed, so they are left out of all.",
            kind="alert",
            tone="bad" if 2 * rejected > n else "neutral",
        )
