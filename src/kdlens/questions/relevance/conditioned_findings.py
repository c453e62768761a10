"""What the conditioned scores say, and where the shape of the maps alone says as much."""

import math
from collections.abc import Sequence

from kdlens.answer import Answer
from kdlens.questions.phrases import correlation, counted, listed, p_value
from kdlens.questions.relevance.conditioned import Left
from kdlens.questions.relevance.rows import Key, Measured
from kdlens.stats.resampling import holm

CERTAIN = 0.05


def say_conditioned(answer: Answer, measured: Measured, told: Sequence[Left], *, percentile: float) -> None:
    """One sentence a student, and what to know about its maps."""
    for left in told:
        if left.problem:
            text = f"No scores of {left.student} on what maps keep: {left.problem}."
            answer.say(text, kind="alert", tone="bad")
            continue
        if min(left.used) < left.n and any(left.used):
            counts = " to ".join(f"{count:,}" for count in sorted({min(left.used), max(left.used)}))
            text = (
                f"Conditioned scores of {left.student} rest on {counts} of {counted(left.n, 'image')}; of the others a "
                "map keeps nothing."
            )
            answer.say(text, kind="alert")
        keys = [key for key in measured.keys("rs_distilled_conditioned") if key[1] == left.student]
        _compare(answer, measured, keys, percentile)
        _shape(answer, measured, keys)


def _compare(answer: Answer, measured: Measured, keys: Sequence[Key], percentile: float) -> None:
    """Student and baseline on what their maps keep, at the last layer, where the maps are made."""
    key = keys[-1]
    _, student, baseline, layer = key
    residual: Key = ("rs_residual_conditioned", student, baseline, layer)
    gap = measured.difference(key, residual)
    if math.isnan(gap.value):
        return
    controls: list[Key] = [("rs_mask_only", student, baseline, layer), ("rs_mask_only", baseline, student, layer)]
    rows = [_row(answer, k) for k in (key, residual, *controls, ("fss_conditioned", student, baseline, layer))]
    found = [correlation(r.value, r.low, r.high) for r in (answer.rows[i] for i in rows)]
    mine, other, my_shape, other_shape, likeness = found
    text = (
        f"Shown only the {percentile:g} % of each image that its distilled map keeps, {student} has RS {mine} at "
        f"{layer}; {baseline}, shown what its residual map keeps, has {other} (difference: {p_value(gap.p)}). "
        f"The maps' shape alone gives them {my_shape} and {other_shape}; their FSS is {likeness} (n = "
        f"{counted(gap.n, 'image')})."
    )
    answer.say(text, rows=rows)


def _shape(answer: Answer, measured: Measured, keys: Sequence[Key]) -> None:
    """Where the control, a map's shape without content, is not clearly below the score."""
    _, student, baseline, _ = keys[0]
    for metric, name, model, other in (
        ("rs_distilled_conditioned", "distilled", student, baseline),
        ("rs_residual_conditioned", "residual", baseline, student),
    ):
        pairs: list[tuple[Key, Key]] = [
            ((metric, student, baseline, key[3]), ("rs_mask_only", model, other, key[3])) for key in keys
        ]
        gaps = [measured.difference(*pair) for pair in pairs]
        corrected = holm([gap.p for gap in gaps])
        leaks = [
            pair
            for pair, gap, p in zip(pairs, gaps, corrected, strict=True)
            if not math.isnan(gap.value) and not (gap.value > 0 and p < CERTAIN)
        ]
        if leaks:
            score, control = leaks[-1]
            rows = [_row(answer, key) for pair in leaks for key in pair]
            shown = [answer.rows[_row(answer, key)] for key in (control, score)]
            alone, full = (correlation(r.value, r.low, r.high) for r in shown)
            text = (
                f"At {listed([key[3] for key, _ in leaks])} what {model} makes of its {name} maps' shape alone is not "
                f"clearly less relevant than what it makes of the parts they keep (RS {alone} against {full} at "
                f"{score[3]}): that relevance may be the maps', not the images'."
            )
            answer.say(text, rows=rows, kind="alert", tone="bad")


def _row(answer: Answer, key: Key) -> int:
    metric, model, compared_with, layer = key
    found = answer.select(metric=metric, model=model, compared_with=compared_with, layer=layer, seed=None)
    return answer.rows.index(found[0])
