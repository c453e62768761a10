"""What the UniCAM numbers say, in sentences; also when they say that nothing is there."""

import math
from collections.abc import Mapping, Sequence

from kdlens.answer import Answer, Row
from kdlens.questions.phrases import correlation, counted, number, p_value, span
from kdlens.questions.unicam.cascade_findings import say_cascade, say_shuffled

SIGNIFICANT = 0.05
HARDLY_UNIQUE = 0.01
FEW_IMAGES = 32
ALL_IN_BAND = 0.95


def say_knowledge(answer: Answer, student: str) -> None:
    """What one student has of its own, and which direction says more about the labels."""
    index, best = _best(answer, student)
    beyond = f"what {student} has beyond {best.compared_with}"
    unique_at, unique = _find(answer, "unique_fraction_distilled", student, best.layer)
    share = f"{number(100 * unique.value)} %{_percents(unique)} of its features' geometry is its own"
    if math.isnan(best.value):
        text = f"{student} has nothing that {best.compared_with} has not: their features are the same up to rounding."
        if unique.value != 0:
            text = f"R* of {beyond} is undefined, for the reason among the alerts; {share}."
        answer.say(text, rows=[index, unique_at])
        return
    evidence = f"R* = {_value(best)} {at_layer(best.layer)}, {p_value(best.p)}, {counted(best.n or 0, 'image')}"
    if unique.value < HARDLY_UNIQUE:
        text = f"{student} and {best.compared_with} hardly differ {at_layer(best.layer)}: only {share} ({evidence})."
        answer.say(text, rows=[unique_at, index])
    elif best.p is not None and best.p <= SIGNIFICANT and (best.low or 0.0) >= 0:
        text = f"{beyond[0].upper()}{beyond[1:]} is about the task ({evidence}); {share}."
        answer.say(text, rows=[index, unique_at], tone="good")
    elif best.p is not None and best.p <= SIGNIFICANT:
        text = (
            f"{beyond[0].upper()}{beyond[1:]} is about the task in these networks, but they vary too much to say so of "
            f"others trained alike ({evidence}); {share}."
        )
        answer.say(text, rows=[index, unique_at])
    else:
        text = f"At no layer is {beyond} about the labels beyond chance (largest {evidence}); {share}."
        answer.say(text, rows=[index, unique_at])
    _say_directions(answer, student, index, best)
    _say_layer(answer, student)


def _say_layer(answer: Answer, student: str) -> None:
    """Which layer to look at, and how sure that is."""
    rows = [(i, row) for i, row in enumerate(answer.rows) if row.metric == "layer_chosen" and row.model == student]
    if len(rows) < 2:
        return
    _, best = max(rows, key=lambda pair: pair[1].value)
    text = (
        f"The layer to look at is {best.layer}: there the distilled features of {student} are the most relevant in "
        f"{number(best.value)} % of random halves of the images (chance {number(best.chance or 0)} %, "
        f"{counted(best.n or 0, 'image')})."
    )
    answer.say(text, rows=[i for i, _ in rows])


def _say_directions(answer: Answer, student: str, index: int, distilled: Row) -> None:
    other_at, residual = _find(answer, "relevance_residual", student, distilled.layer)
    if not answer.select(metric="relevance_difference", model=student, layer=distilled.layer):
        return
    at, difference = _find(answer, "relevance_difference", student, distilled.layer)
    if difference.low is None or difference.high is None:
        return
    if difference.low > 0:
        how, tone = "say more about the labels than", "good"
    elif difference.high < 0:
        how, tone = "say less about the labels than", "bad"
    else:
        how, tone = "do not clearly differ in relevance from", "neutral"
    text = (
        f"{_capital(at_layer(distilled.layer))} the distilled features of {student} {how} the ones it dropped: "
        f"{_value(distilled)} against {_value(residual)}, difference {_value(difference)}."
    )
    answer.say(text, rows=[index, other_at, at], tone=tone)  # type: ignore[arg-type]


def say_checks(answer: Answer, student: str) -> None:
    """Whether the maps of one student say what the networks do; nothing where they were not checked."""
    if not answer.select(metric="deletion_difference", model=student):
        return
    at, difference = _of(answer, "deletion_difference", student)
    i, distilled = _of(answer, "deletion_distilled", student)
    j, residual = _of(answer, "deletion_residual", student)
    k, chance = _of(answer, "deletion_random", student)
    costs = (
        f"{number(distilled.value, 2)} nats{span(distilled.low, distilled.high, 2)} on average over 2 to 30 % of the "
        f"image, against {number(residual.value, 2)}{span(residual.low, residual.high, 2)} for as much of what it "
        f"calls residual and {number(chance.value, 2)}{span(chance.low, chance.high, 2)} for as much anywhere "
        f"(n = {counted(distilled.n or 0, 'image')})"
    )
    if difference.low is not None and difference.low > 0:
        text = f"The maps of {student} pass the causal check: blurring what they call distilled costs it {costs}."
        answer.say(text, rows=[at, i, j, k], tone="good")
    else:
        text = f"The maps of {student} fail the causal check: blurring what they call distilled costs it {costs}."
        answer.say(text, rows=[at, i, j, k], tone="bad")
    _say_null(answer, student)
    say_cascade(answer, student)
    say_shuffled(answer, student)


def _say_null(answer: Answer, student: str) -> None:
    """How many maps show no more than null maps do."""
    rows = [(i, r) for i, r in enumerate(answer.rows) if r.metric == "maps_in_null_band" and r.model == student]
    if not rows:
        return
    inside, n = sum(r.value for _, r in rows), sum(r.n or 0 for _, r in rows)
    if inside >= ALL_IN_BAND * n:
        text = (
            f"Nothing that {student} has and {rows[0][1].compared_with} has not is to be seen: "
            f"{number(100 * inside / n)} % of the maps show no more than null maps do (95 % by chance; "
            f"n = {counted(n, 'map')})."
        )
        answer.say(text, rows=[i for i, _ in rows])


def _of(answer: Answer, metric: str, student: str) -> tuple[int, Row]:
    row = next(iter(answer.select(metric=metric, model=student, seed=None)))
    return answer.rows.index(row), row


def say_shares(answer: Answer, student: str) -> None:
    """Whether the student's maps lie more on the object than the baseline's; nothing without masks."""
    found = [(i, row) for i, row in enumerate(answer.rows) if row.metric == "share_on_object_gain"]
    gains = [(i, row) for i, row in found if row.model == student and row.seed is None]
    if not gains:
        return
    for i, row in enumerate(answer.rows):
        if row.metric == "share_on_object_distilled" and row.model == student and row.seed is None:
            _say_distilled_share(answer, i, row)
    at, gain = gains[0]
    own_at, own = _find(answer, "share_on_object_student", student, gain.layer)
    others = [
        (i, row)
        for i, row in enumerate(answer.rows)
        if row.metric == "share_on_object_baseline" and row.model == gain.compared_with and row.seed is None
    ]
    low, high = gain.low if gain.low is not None else -math.inf, gain.high if gain.high is not None else math.inf
    how, tone = (
        ("more", "good") if low > 0 else ("less", "bad") if high < 0 else ("not clearly more or less", "neutral")
    )
    chance = f"chance {number(100 * (own.chance or 0))} %"
    text = (
        f"{student} looks at the object {how} than {gain.compared_with} does: {_percent(own)} of its maps' positive "
        f"energy against {_percent(others[0][1])} ({chance}; difference {number(100 * gain.value, signed=True)} "
        f"points{_percents(gain)}, {counted(gain.n or 0, 'image')})."
    )
    answer.say(text, rows=[own_at, others[0][0], at], tone=tone)  # type: ignore[arg-type]


def _say_distilled_share(answer: Answer, i: int, row: Row) -> None:
    """Whether what was distilled is on the object, by its interval and the object's part of the picture."""
    area = row.chance or 0.0
    sure_on, sure_off = (row.low is not None and row.low > area), (row.high is not None and row.high < area)
    where = "on the object" if sure_on else "off the object" if sure_off else "neither clearly on nor off the object"
    answer.say(
        f"What {row.model} has beyond {row.compared_with} lies {where}: {_percent(row)} of the positive energy of the "
        f"distilled maps (chance {number(100 * area)} %, {counted(row.n or 0, 'image')}).",
        rows=[i],
        tone="good" if sure_on else "bad" if sure_off else "neutral",
    )


def say_alerts(answer: Answer, *, classes: int, images: int) -> None:
    """What a reader must know before trusting a number."""
    if classes == 2:
        answer.say(
            "With two classes there is only one distance between labels, so every label embedding gives the same "
            "relevance.",
            kind="alert",
        )
    if images < FEW_IMAGES:
        answer.say(
            f"The comparison set has only {counted(images, 'image')}: relevance on so few is mostly noise "
            f"(at least {FEW_IMAGES}, better 128).",
            kind="alert",
            tone="bad",
        )


def say_empty_maps(answer: Answer, student: str) -> None:
    """How many maps are zero everywhere, in one sentence for all seeds and both directions."""
    parts, support = [], []
    for direction, metric in (("distilled", "degenerate_maps"), ("residual", "degenerate_maps_residual")):
        found = [(i, row) for i, row in enumerate(answer.rows) if row.metric == metric and row.model == student]
        counts = sorted({int(row.value) for _, row in found})
        if counts and counts[-1] > 0:
            many = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
            parts.append(f"{many} of {counted(found[0][1].n or 0, f'{direction} map')}")
            support += [i for i, _ in found]
    if parts:
        joint = answer.notes.options.get("protocol") == "joint"
        beyond = "beyond what null maps show " if joint else ""
        answer.say(
            f"Zero everywhere: {' and '.join(parts)} of {student}. Those images show no positive evidence {beyond}and "
            "are left out of shares on the object.",
            rows=support,
            kind="finding" if joint else "alert",
        )


def say_undefined(answer: Answer, who: str, reasons: Mapping[str, Sequence[str]]) -> None:
    """Why a statistic is undefined: one alert a reason, with the directions it holds for."""
    for reason in dict.fromkeys(reason for found in reasons.values() for reason in found if reason):
        directions = " and ".join(direction for direction, found in reasons.items() if reason in found)
        answer.say(f"{who}, {directions}: relevance is undefined, since {reason}.", kind="alert", tone="bad")


def at_layer(layer: str) -> str:
    """A layer in a sentence; a name that is only a number is marked as one.

    Example:
        >>> at_layer("layer3"), at_layer("4")
        ('at layer3', 'at layer "4"')
    """
    return f'at layer "{layer}"' if layer.isdigit() else f"at {layer}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _best(answer: Answer, student: str) -> tuple[int, Row]:
    """The layer whose distilled features are most relevant in most halves of the images; without halves, in all."""
    chosen = answer.select(metric="layer_chosen", model=student)
    if chosen:
        return _find(answer, "relevance_distilled", student, max(chosen, key=lambda row: row.value).layer)
    rows = [
        (i, row)
        for i, row in enumerate(answer.rows)
        if row.metric == "relevance_distilled" and row.model == student and row.seed is None
    ]
    return max(rows, key=lambda pair: -math.inf if math.isnan(pair[1].value) else pair[1].value)


def _find(answer: Answer, metric: str, student: str, layer: str) -> tuple[int, Row]:
    for i, row in enumerate(answer.rows):
        if (row.metric, row.model, row.layer, row.seed) == (metric, student, layer, None):
            return i, row
    raise LookupError(f"no row {metric} of {student} at {layer}")


def _value(row: Row) -> str:
    return correlation(row.value, row.low, row.high)


def _percent(row: Row) -> str:
    return f"{number(100 * row.value)} %{_percents(row)}"


def _percents(row: Row) -> str:
    return "" if row.low is None or row.high is None else span(100 * row.low, 100 * row.high)
