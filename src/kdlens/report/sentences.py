"""Findings as sentences that link to the rows they rest on."""

import re
from collections.abc import Iterable, Sequence

from kdlens.answer import Answer, Finding
from kdlens.report.blocks import Sentence
from kdlens.report.names import title_of
from kdlens.report.numbers import interval_text, known, signed, value_text, with_unit

BADGES = ("HELPED", "NO EFFECT", "HURT", "INCONCLUSIVE")
_BADGE = re.compile(rf"({'|'.join(BADGES)})\b\s*[:.,-]?\s*")
_MOST_LINKS = 6


def sentence(finding: Finding, answer: Answer, anchor: str) -> Sentence:
    """Set a finding of an answer whose section has the id `anchor`.

    Every sentence has a link: to its rows, or, for an alert without rows, to the section.
    """
    found = _BADGE.match(finding.text)
    rows = [index for index in finding.rows if index < len(answer.rows)]
    subject = next((answer.rows[index].model for index in rows if answer.rows[index].model), "")
    links = tuple((row_anchor(anchor, index), str(index + 1)) for index in rows[:_MOST_LINKS])
    return Sentence(
        text=finding.text[found.end() :] if found and finding.kind == "verdict" else finding.text,
        tone=finding.tone,
        kind=finding.kind,
        badge=found.group(1) if found and finding.kind == "verdict" else "",
        subject=subject,
        headline=_headline(answer, rows) if finding.kind == "verdict" else ("", ""),
        links=links or ((anchor, ""),),
        question=title_of(answer.question),
    )


def _headline(answer: Answer, rows: Sequence[int]) -> tuple[str, str]:
    """The first number a verdict rests on, and its interval."""
    if not rows or not known(answer.rows[rows[0]].value):
        return ("", "")
    row = answer.rows[rows[0]]
    return with_unit(value_text(row), row.unit), interval_text(row.low, row.high, row.unit, signed=signed(row))


def row_anchor(anchor: str, index: int) -> str:
    """The id of a row of an answer's table."""
    return f"row-{anchor}-{index + 1}"


def sentences(answer: Answer, anchor: str, *kinds: str) -> tuple[Sentence, ...]:
    """An answer's findings of some kinds, in its order."""
    return tuple(sentence(finding, answer, anchor) for finding in answer.findings if finding.kind in kinds)


def key_findings(found: Iterable[Sequence[Sentence]], *, each: int = 3, most: int = 9) -> list[Sentence]:
    """The sentences to read first: of every question a few, those that say good or bad before the neutral ones."""
    chosen = []
    for of_question in found:
        ranked = sorted(range(len(of_question)), key=lambda i: (of_question[i].tone == "neutral", i))[:each]
        chosen += [of_question[i] for i in sorted(ranked)]
    return chosen[:most]
