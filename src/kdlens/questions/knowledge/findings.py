"""What the knowledge rows say, in sentences."""

from collections.abc import Mapping, Sequence

from kdlens.answer import Answer, Row
from kdlens.questions.knowledge.hypotheses import Verdict, judge, together, tone_of
from kdlens.questions.knowledge.measure import Decision
from kdlens.questions.phrases import counted, digits_that_add_up, listed, number, points, span

FEW_IMAGES = 20
_PARTS = (("points_on_object", 1), ("points_share", 1), ("points_off_object", -1))


def say_all(answer: Answer, student: str, layers: Sequence[str]) -> None:
    """The verdict on the first hypothesis at the last layer, how it is at the others, and under the selection."""
    known = [layer for layer in layers if answer.select(metric="points_share_gain", model=student, layer=layer)]
    if not known:
        return
    _first_hypothesis(answer, student, known[-1])
    if len(known) > 1:
        _other_layers(answer, student, known[:-1])
    _selected(answer, student, known[-1])


def verdict_at(answer: Answer, student: str, layer: str, suffix: str = "gain") -> Verdict:
    """Whether a student has more points on the object, and a larger share of its points there."""
    return together(
        [judge(_find(answer, f"{metric}_{suffix}", student, layer)[1], sign) for metric, sign in _PARTS[:2]]
    )


def _first_hypothesis(answer: Answer, student: str, layer: str) -> None:
    verdict = verdict_at(answer, student, layer)
    support, texts = [], []
    for metric, sign in _PARTS:
        i, change = _find(answer, f"{metric}_gain", student, layer)
        j, mine = _find(answer, metric, student, layer)
        k, other = _baseline(answer, metric, change, layer)
        texts.append(_part(metric, change, mine, other, judge(change, sign)))
        support += [i, j, k]
    n = answer.rows[support[0]].n or 0
    text = (
        f"Hypothesis 1, more knowledge of the object: {verdict} at {layer}. {texts[0]}; {texts[1]}. "
        f"{texts[2]} ({counted(n, 'image')})."
    )
    answer.say(text, rows=support, kind="verdict", tone=tone_of(verdict))


def _part(metric: str, change: Row, mine: Row, other: Row, verdict: Verdict) -> str:
    digits = digits_that_add_up(mine.value, other.value, change.value)
    a, b = number(mine.value, digits), number(other.value, digits)
    if metric == "points_share":
        by_chance = f", chance {number(mine.chance or 0)} %"
        difference = points(change.value, change.low, change.high, digits)
        return f"{a} % of its points lie there, against {b} % ({difference}{by_chance})"
    difference = f"{number(change.value, digits, signed=True)}{span(change.low, change.high, digits)}"
    if metric == "points_on_object":
        return f"{change.model} keeps {a} cells of the object and {change.compared_with} {b} ({difference})"
    clear = {"supported": "fewer", "not supported": "not fewer", "inconclusive": "no clear difference"}[verdict]
    return f"Off the object they keep {a} and {b} ({difference}: {clear})"


def _other_layers(answer: Answer, student: str, layers: Sequence[str]) -> None:
    verdicts = {layer: verdict_at(answer, student, layer) for layer in layers}
    texts = [
        f"{verdict} at {listed([layer for layer in layers if verdicts[layer] == verdict])}"
        for verdict in dict.fromkeys(verdicts.values())
    ]
    rows = [_find(answer, f"{m}_gain", student, layer)[0] for layer in layers for m, _ in _PARTS[:2]]
    answer.say(f"Before that, for {student}, hypothesis 1 is {listed(texts)}.", rows=rows)


def _selected(answer: Answer, student: str, layer: str) -> None:
    if not answer.select(metric="points_share_selected_gain", model=student, layer=layer):
        return
    found = [_find(answer, f"{metric}_selected_gain", student, layer) for metric, _ in _PARTS[:2]]
    (_, on), (_, share) = found
    verdict = verdict_at(answer, student, layer, "selected_gain")
    all_images = _find(answer, "points_share_gain", student, layer)[1].n or 0
    text = (
        f"On the {on.n} of {counted(all_images, 'image')} that the published selection keeps, for {student}: {verdict} "
        f"({number(on.value, signed=True)}{span(on.low, on.high)} cells on the object, "
        f"{points(share.value, share.low, share.high)} of share). It keeps images whose background both networks "
        "discard more than their object, and so chooses by the outcome."
    )
    answer.say(text, rows=[i for i, _ in found])


def say_left_out(answer: Answer, left_out: int, drawn: int, how: str) -> None:
    """Images that could not be used at all."""
    if left_out:
        text = f"{counted(left_out, 'image')} of {drawn} left out: no cell of the object, or none of the background"
        answer.say(f"{text} ({how}).", kind="alert", tone="bad" if 2 * left_out > drawn else "neutral")


def say_rejected(answer: Answer, who: str, layer: str, rejected: int, n: int) -> None:
    """Images of which no feature moves."""
    if rejected:
        text = f"{who} rejects {rejected} of {counted(n, 'image')} at {layer}: no feature moves when they are disturbed"
        text += "; nothing is counted there." if rejected > n - 2 else ", so they are left out there."
        answer.say(text, kind="alert", tone="bad" if 2 * rejected > n else "neutral")


def say_without_points(answer: Answer, who: str, without: Mapping[str, int], n: int) -> None:
    """Images without any point, which pull the share below chance: all layers in one sentence."""
    many = [f"{count} at {layer}" for layer, count in without.items() if 4 * count > n]
    if many:
        answer.say(
            f"Of {counted(n, 'image')}, {who} keeps no knowledge point in {listed(many)}; their share on the object "
            "counts as 0 and pulls the mean below chance. Look at the curves over thresholds.",
            kind="alert",
        )


def say_few(answer: Answer, n: int) -> None:
    """Few images make wide intervals."""
    if n < FEW_IMAGES:
        answer.say(f"Only {counted(n, 'image')}: the intervals are wide.", kind="alert", tone="bad")


def say_uneven(answer: Answer, ratio: float, cells: tuple[int, int]) -> None:
    """Cells of unequal size are kept or discarded by their size, too."""
    if ratio > 1.05:
        answer.say(
            f"The {cells[0]} x {cells[1]} cells differ in size by a factor of up to {ratio:.2f}, and the larger a "
            "cell, the less of it is discarded; choose a grid that divides the image.",
            kind="alert",
        )


def say_backend(answer: Answer, layer: str, decision: Decision, *, alone: bool = False) -> None:
    """The slow way was needed, or would have been; for one network `alone` or for all that are compared."""
    if decision.accepted:
        return
    if decision.backend == "linear":
        answer.say(
            f"At {layer} the fast way was asked for and does not pass its checks ({decision.reason}): points there may "
            "be miscounted. `backend: auto` would have taken the slow way.",
            kind="alert",
            tone="bad",
        )
        return
    answer.say(
        f"At {layer} the fast way was not accepted ({decision.reason}), so "
        f"{'it was' if alone else 'all networks were'} measured by Monte Carlo there.",
        kind="alert",
    )


def _baseline(answer: Answer, metric: str, change: Row, layer: str) -> tuple[int, Row]:
    """The baseline's row at the layer that was paired with the student's."""
    rows = [
        (i, r) for i, r in enumerate(answer.rows) if (r.metric, r.model, r.seed) == (metric, change.compared_with, None)
    ]
    exact = [pair for pair in rows if pair[1].layer == layer]
    return exact[0] if exact else rows[-1]


def _find(answer: Answer, metric: str, model: str, layer: str) -> tuple[int, Row]:
    row = answer.select(metric=metric, model=model, layer=layer, seed=None)[0]
    return answer.rows.index(row), row
