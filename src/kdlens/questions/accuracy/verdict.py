"""The rule by which kdlens says whether distillation helped."""

from typing import Literal

from kdlens.questions.phrases import counted, number
from kdlens.stats.resampling import Interval

Verdict = Literal["HELPED", "NO EFFECT", "HURT", "INCONCLUSIVE"]

TONE: dict[Verdict, Literal["good", "bad", "neutral"]] = {
    "HELPED": "good",
    "HURT": "bad",
    "NO EFFECT": "neutral",
    "INCONCLUSIVE": "neutral",
}


def verdict_of(gain: Interval, margin: float) -> Verdict:
    """Judge a gain by its interval.

    The four cases leave nothing out: an interval that lies above 0 says HELPED, below 0 HURT; one that holds 0 says
    NO EFFECT if it stays within the margin (a gain worth having is excluded) and INCONCLUSIVE if it does not (neither
    is excluded). An effect that is sure but smaller than the margin is still an effect, and the sentence says its size.

    Args:
        gain: student minus baseline, in points.
        margin: the smallest gain or loss worth having, in points; 0 never says NO EFFECT.

    Example:
        >>> verdict_of(Interval(2.1, 1.4, 2.8, 2000), 1.0), verdict_of(Interval(0.1, -0.4, 0.6, 2000), 1.0)
        ('HELPED', 'NO EFFECT')
        >>> verdict_of(Interval(0.1, -2.4, 2.6, 100), 1.0)
        'INCONCLUSIVE'
    """
    if gain.low > 0:
        return "HELPED"
    if gain.high < 0:
        return "HURT"
    if -margin < gain.low and gain.high < margin:
        return "NO EFFECT"
    return "INCONCLUSIVE"


def reason(verdict: Verdict, gain: Interval, margin: float) -> str:
    """Why the rule gave this verdict, as the end of a sentence.

    Example:
        >>> reason("HELPED", Interval(0.3, 0.1, 0.5, 50000), 1.0)
        'the interval lies above 0, though within the margin of 1 point'
    """
    size = points_of(margin)
    if verdict in ("HELPED", "HURT"):
        side = "above" if verdict == "HELPED" else "below"
        small = f", though within the margin of {size}" if max(abs(gain.low), abs(gain.high)) < margin else ""
        return f"the interval lies {side} 0{small}"
    if verdict == "NO EFFECT":
        return f"the interval holds 0 and excludes a gain or loss of {size} or more"
    return f"the interval holds 0 but does not exclude a gain or loss of {size}"


def rule(margin: float) -> str:
    """The rule in full, for the notes."""
    size = points_of(margin)
    return (
        "The verdict follows from the 95 % interval of the gain in top-1 accuracy, student minus baseline on the same "
        f"images: HELPED if it lies above 0; HURT if it lies below 0; NO EFFECT if it holds 0 and stays within {size} "
        "of it; INCONCLUSIVE otherwise."
    )


def points_of(margin: float) -> str:
    """The margin in words.

    Example:
        >>> points_of(1.0), points_of(0.5)
        ('1 point', '0.5 points')
    """
    return counted(int(margin), "point") if margin == int(margin) else f"{number(margin, 1)} points"
