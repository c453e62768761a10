"""What the rows of the dissection say, in sentences."""

from typing import Literal

from kdlens.answer import Answer, Row
from kdlens.questions.context import Context, by_student
from kdlens.questions.dissection.changes import STORIES
from kdlens.questions.dissection.rows import Found, other_rule
from kdlens.questions.phrases import counted, digits_that_add_up, listed, number, p_value, span

Direction = Literal["more", "fewer", "unclear"]
Tone = Literal["good", "bad", "neutral"]
_TONE: dict[Direction, Tone] = {"more": "good", "fewer": "bad", "unclear": "neutral"}
_CLAIM: dict[Direction, str] = {
    "more": "That distilled students have more of them, as Han et al. report, shows here",
    "fewer": "Han et al. report that distilled students have more of them; here it is the other way round",
    "unclear": "Han et al. report that distilled students have more of them; this neither shows nor is refuted here",
}
_NAMED = 6


def direction_of(row: Row) -> Direction:
    """Whether a gain is surely one, by its interval.

    Example:
        >>> direction_of(Row("g", 3.0, low=1.0, high=5.0)), direction_of(Row("g", 3.0, low=-1.0, high=7.0))
        ('more', 'unclear')
    """
    if row.low is None or row.high is None or row.low <= 0 <= row.high:
        return "unclear"
    return "more" if row.low > 0 else "fewer"


def say_all(answer: Answer, context: Context, found: Found, threshold: float, also: float) -> None:
    """The verdict of every student, then what became of the concepts, and whether other ways of counting agree."""
    last = {}
    for trios in by_student(context):
        student = trios[0].student
        layers = [layer for layer in student.layers if _gain(answer, "detectors", student.name, layer)]
        if layers:
            last[student.name] = layers[-1]
            _verdict(answer, student.name, layers[-1], threshold, len(trios))
            _layers(answer, student.name, layers[:-1])
    rule = next(iter(found.values())).plan.category_rule
    for name, layer in last.items():
        _concepts(answer, name, layer)
        halves = "With the concept chosen on one half of the images and scored on the other"
        _counted_otherwise(answer, name, layer, "detectors_held_out", halves)
        _counted_otherwise(answer, name, layer, "detectors_also", f"From an IoU of {_iou(also)}")
        _rules(answer, name, layer, rule)
    for name, layer in last.items():
        _rotated(answer, name, layer)
    _teacher(answer, context)


def _verdict(answer: Answer, student: str, layer: str, threshold: float, seeds: int) -> None:
    i, gain = _find(answer, "detectors_gain", student, layer)
    j, mine = _find(answer, "detectors", student, layer)
    k, other = _baseline(answer, "detectors", gain)
    direction = direction_of(gain)
    opening = {
        "more": f"{student} has more concept detectors than {gain.compared_with}",
        "fewer": f"{student} has fewer concept detectors than {gain.compared_with}",
        "unclear": f"No clear difference in concept detectors between {student} and {gain.compared_with}",
    }[direction]
    digits = digits_that_add_up(mine.value, other.value, gain.value)
    change = f"{number(gain.value, digits, signed=True)}{span(gain.low, gain.high, digits)}"
    chance = ""
    if mine.chance is not None and other.chance is not None:
        chance = f"; dealt masks would give {number(mine.chance)} and {number(other.chance)}"
    basis = f"IoU from {_iou(threshold)}, {counted(gain.n or 0, 'image')}, {counted(seeds, 'seed')}"
    text = (
        f"{opening} at {layer}: {number(mine.value, digits)} units against {number(other.value, digits)} "
        f"({change}, {p_value(gain.p)}{chance}; {basis}). {_CLAIM[direction]}."
    )
    answer.say(text, rows=[i, j, k], kind="verdict", tone=_TONE[direction])


def _layers(answer: Answer, student: str, layers: list[str]) -> None:
    """The layers before."""
    if not layers:
        return
    rows = {layer: _find(answer, "detectors_gain", student, layer) for layer in layers}
    words = {"more": "more", "fewer": "fewer", "unclear": "no clear difference"}
    texts = []
    for direction in words:
        at = [
            f"{layer} ({number(row.value, signed=True)}{span(row.low, row.high)})"
            for layer, (_, row) in rows.items()
            if direction_of(row) == direction
        ]
        texts += [f"{words[direction]} at {listed(at)}"] if at else []
    text = f"Before that, for {student} against {next(iter(rows.values()))[1].compared_with}: {listed(texts)}."
    answer.say(text, rows=[i for i, _ in rows.values()])


def _concepts(answer: Answer, student: str, layer: str) -> None:
    """Gained, kept and lost, with the units of the most numerous."""
    rows, texts = [], []
    for story in STORIES:
        named = answer.select(metric=f"concept_{story}_change", model=student, layer=layer)
        if not named:
            continue
        named.sort(key=lambda row: -abs(row.value))
        said = [_concept(answer, row, story) for row in named[:_NAMED]]
        said += [f"{len(named) - _NAMED} more"] if len(named) > _NAMED else []
        texts.append(f"{'in some seeds only' if story == 'mixed' else story}, {len(named)}: {listed(said)}")
        rows += [answer.rows.index(row) for row in named[:_NAMED]]
    counts = [_find(answer, f"concepts_{story}", student, layer)[0] for story in STORIES[:3]]
    if texts:
        baseline = answer.rows[counts[0]].compared_with
        text = f"Concepts that units of {student} detect at {layer}, against those of {baseline}: "
        answer.say(f"{text}{'; '.join(texts)}.", rows=[*counts, *rows])


def _concept(answer: Answer, row: Row, story: str) -> str:
    """A concept and its units; where both networks may have some, the baseline's and the student's."""
    mine = answer.value("concept_units", model=row.model, layer=row.layer, class_name=row.class_name)
    its = mine - row.value
    if story in ("gained", "lost"):
        return f"{row.class_name} with {counted(round(mine if story == 'gained' else its, 1), 'unit')}"
    return f"{row.class_name} from {_units(its)} to {_units(mine)} units"


def _counted_otherwise(answer: Answer, student: str, layer: str, metric: str, how: str) -> None:
    """The detectors of both by another way of counting, which `how` tells."""
    i, gain = _find(answer, f"{metric}_gain", student, layer)
    j, mine = _find(answer, metric, student, layer)
    k, other = _baseline(answer, metric, gain)
    digits = digits_that_add_up(mine.value, other.value, gain.value)
    text = (
        f"{how}, {student} has {number(mine.value, digits)} detectors at {layer} and {gain.compared_with} "
        f"{number(other.value, digits)} ({_change(gain, digits)}): {_in_words(gain)}."
    )
    answer.say(text, rows=[i, j, k])


def _rules(answer: Answer, student: str, layer: str, rule: str) -> None:
    """Only where the other category rule points the other way."""
    i, gain = _find(answer, "detectors_gain", student, layer)
    j, other = _find(answer, "detectors_other_rule_gain", student, layer)
    if gain.value * other.value >= 0:
        return
    names = {"paper": "the paper's", "netdissect-lite": "NetDissect-Lite's"}
    second = names[other_rule(rule)]  # type: ignore[arg-type]
    answer.say(
        f"The two category rules disagree in direction for {student} at {layer}: by {names[rule]} "
        f"{_change(gain, 1)}, by {second} {_change(other, 1)}.",
        rows=[i, j],
    )


def _rotated(answer: Answer, student: str, layer: str) -> None:
    """Whether concepts lie along units rather than along any direction."""
    found = answer.select(metric="detectors_rotated", model=student, layer=layer, seed=None)
    if not found:
        return
    i, mine = _find(answer, "detectors", student, layer)
    row = found[0]
    text = (
        f"In random bases of the same features, {student} has {number(row.value)} detectors at {layer}, as units "
        f"{number(mine.value)}"
    )
    answer.say(f"{text}: {_basis(mine.value, row.value)}.", rows=[i, answer.rows.index(row)])


def _basis(units: float, rotated: float) -> str:
    if units > rotated:
        return "concepts lie along units more than along other directions"
    return "concepts do not lie along units more than along other directions"


def _teacher(answer: Answer, context: Context) -> None:
    teacher = next((subject for subject in context.subjects if subject.role == "teacher"), None)
    rows = [] if teacher is None else answer.select(metric="detectors_share", model=teacher.name, seed=None)
    if rows:
        row = rows[-1]
        count = answer.rows.index(answer.select(metric="detectors", model=row.model, layer=row.layer, seed=None)[0])
        value = answer.rows[count].value
        text = (
            f"The teacher has {number(value, 0 if value.is_integer() else 1)} detectors at {row.layer}, "
            f"{number(row.value)} % of its units{span(row.low, row.high)}."
        )
        answer.say(text, rows=[count, answer.rows.index(row)])


def _change(gain: Row, digits: int) -> str:
    return f"{number(gain.value, digits, signed=True)}{span(gain.low, gain.high, digits)}, {p_value(gain.p)}"


def _in_words(gain: Row) -> str:
    return {"more": "more", "fewer": "fewer", "unclear": "no clear difference"}[direction_of(gain)]


def _iou(threshold: float) -> str:
    return f"{threshold:g}".removeprefix("0")


def _units(count: float) -> str:
    return number(count, 0 if float(count).is_integer() else 1)


def _gain(answer: Answer, metric: str, model: str, layer: str) -> list[Row]:
    return answer.select(metric=f"{metric}_gain", model=model, layer=layer, seed=None)


def _find(answer: Answer, metric: str, model: str, layer: str) -> tuple[int, Row]:
    row = answer.select(metric=metric, model=model, layer=layer, seed=None)[0]
    return answer.rows.index(row), row


def _baseline(answer: Answer, metric: str, gain: Row) -> tuple[int, Row]:
    """The baseline's row at the layer that was paired with the student's."""
    rows = answer.select(metric=metric, model=gain.compared_with, seed=None)
    row = next((row for row in rows if row.layer == gain.layer), rows[-1])
    return answer.rows.index(row), row
