"""Whether intervals support a hypothesis: supported, not supported, or inconclusive."""

from collections.abc import Sequence
from typing import Literal

from kdlens.answer import Row

Verdict = Literal["supported", "not supported", "inconclusive"]
Tone = Literal["good", "bad", "neutral"]


def judge(row: Row, direction: int) -> Verdict:
    """What the 95 % interval of a difference says of its sign; an interval that holds 0 says nothing.

    Args:
        row: a difference of student and baseline, paired by image.
        direction: 1 where the hypothesis says that it is positive, -1 where negative.

    Example:
        >>> judge(Row("rho_gain", 0.2, low=0.1, high=0.3), 1), judge(Row("d_mean_change", 0.2, low=0.1, high=0.3), -1)
        ('supported', 'not supported')
        >>> judge(Row("rho_gain", 0.2, low=-0.1, high=0.5), 1)
        'inconclusive'
        >>> judge(Row("rho_gain", 0.0, low=0.0, high=0.0), 1)
        'inconclusive'
    """
    if row.low is None or row.high is None:
        return "inconclusive"
    low, high = (row.low, row.high) if direction > 0 else (-row.high, -row.low)
    return "supported" if low > 0 else "not supported" if high < 0 else "inconclusive"


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """A hypothesis of several parts: supported if all are, not supported as soon as one is not.

    Example:
        >>> together(["supported", "inconclusive"]), together(["inconclusive", "not supported"])
        ('inconclusive', 'not supported')
    """
    if "not supported" in verdicts:
        return "not supported"
    return "inconclusive" if "inconclusive" in verdicts else "supported"


def tone_of(verdict: Verdict) -> Tone:
    """The tone of a sentence with this verdict."""
    tones: dict[Verdict, Tone] = {"supported": "good", "not supported": "bad", "inconclusive": "neutral"}
    return tones[verdict]
