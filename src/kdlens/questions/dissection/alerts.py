"""What a reader must know before trusting counts of detectors."""

from collections.abc import Mapping

from kdlens.answer import Answer
from kdlens.questions.context import Context, Subject, by_student
from kdlens.questions.dissection.result import Dissection
from kdlens.questions.dissection.rows import Found
from kdlens.questions.phrases import counted, listed, number, p_value

Maps = Mapping[Subject, tuple[Mapping[str, tuple[int, int, int]], Mapping[str, str]]]
"""Every network's layers with units, rows and columns; and why others have no places."""

FEW_IMAGES = 200
SMALLEST_SIDE = 4


def say_unusual(answer: Answer, context: Context, maps: Maps, found: Found) -> None:
    """Add the alerts."""
    _layers_left_out(answer, maps)
    if not found:
        answer.say("No layer has maps with places, so nothing was dissected.", kind="alert", tone="bad")
        return
    _chance(answer, found)
    _images(answer, next(iter(found.values())))
    _small_maps(answer, maps)
    _broken_units(answer, found)
    for trios in by_student(context):
        student, baseline = trios[0].student, trios[0].baseline
        if len(trios) == 1:
            answer.say(
                f"One seed of {student.name}: intervals cover the choice of images, not the luck of training.",
                kind="alert",
            )
        units = [_last_units(maps, subject) for subject in (student, baseline)]
        if units[0] != units[1]:
            answer.say(
                f"{student.name} has {units[0]} units at its last layer and {baseline.name} {units[1]}: compare shares "
                "of the units, not counts.",
                kind="alert",
                tone="bad",
            )


def _last_units(maps: Maps, subject: Subject) -> int:
    return next(reversed([units for units, _, _ in maps[subject][0].values()]), 0)


def _chance(answer: Answer, found: Found) -> None:
    """Layers whose count dealt masks reach, too: all of a network in one sentence."""
    deals = next(iter(found.values())).dealt.groups
    if not deals:
        answer.say("No masks were dealt (shuffles: 0), so what chance would count is not known.", kind="alert")
        return
    for name in dict.fromkeys(subject.name for subject, _ in found):
        every = answer.select(metric="detectors", model=name, seed=None)
        none = [row.layer for row in every if row.value == 0]
        if none:
            answer.say(f"No unit of {name} is a detector at {listed(none)}.", kind="alert", tone="bad")
        # with few deals p cannot be small; then only a count that some deal reaches is no more than chance
        level = max(0.05, 1.5 / (1 + deals))
        rows = [row for row in every if row.value and row.p is not None and row.p > level]
        if rows:
            where = [
                f"{row.layer} ({number(row.value)} against {number(row.chance or 0)}, {p_value(row.p)})" for row in rows
            ]
            answer.say(
                f"{name} has no more detectors than masks dealt to other images give at {listed(where)}: do not read "
                "concepts into its units there.",
                kind="alert",
                tone="bad",
            )


def _images(answer: Answer, one: Dissection) -> None:
    if one.problems:
        drawn = one.images + len(one.problems)
        answer.say(
            f"{counted(len(one.problems), 'image')} of {drawn:,} could not be used and are left out, e.g.: "
            f"{one.problems[0]}",
            kind="alert",
            tone="bad" if 2 * len(one.problems) > drawn else "neutral",
        )
    if one.images < FEW_IMAGES:
        answer.say(
            f"Only {counted(one.images, 'image')}: rare labels win by chance, and intervals are wide.", kind="alert"
        )
    known = one.vocabulary.primary >= 0
    left = int((known & ~one.allowed).sum())
    if left:
        answer.say(
            f"{left} of {counted(int(known.sum()), 'label')} stand in fewer than "
            f"{counted(one.plan.min_images, 'image')} and are not considered.",
            kind="alert",
            tone="bad" if left == int(known.sum()) else "neutral",
        )


def _small_maps(answer: Answer, maps: Maps) -> None:
    small = {
        f"{subject.name} at {layer} ({rows} x {columns})"
        for subject, (layers, _) in maps.items()
        for layer, (_, rows, columns) in layers.items()
        if min(rows, columns) < SMALLEST_SIDE
    }
    if small:
        answer.say(
            f"Maps of few places are enlarged to blurs, which overlap with what is large: {listed(sorted(small))}.",
            kind="alert",
        )


def _layers_left_out(answer: Answer, maps: Maps) -> None:
    told: dict[str, str] = {}
    for subject, (_, problems) in maps.items():
        for layer, why in problems.items():
            told.setdefault(f"{subject.name} at {layer}", why)
    for who, why in told.items():
        answer.say(f"{who} is left out: {why}.", kind="alert")


def _broken_units(answer: Answer, found: Found) -> None:
    for (subject, layer), one in found.items():
        broken = int(one.thresholds.isnan().sum())
        if broken:
            answer.say(
                f"{counted(broken, 'unit')} of {subject.label} at {layer} give NaN, and detect nothing.",
                kind="alert",
                tone="bad",
            )
