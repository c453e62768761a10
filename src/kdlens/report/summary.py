"""The report as a few sentences of plain text, for terminals and notebooks that do not trust HTML."""

import textwrap
from collections.abc import Mapping

from kdlens.answer import Answer
from kdlens.report.meta import Meta
from kdlens.report.numbers import count
from kdlens.visible import visible

_SENTENCES, _ALERTS, _WIDTH = 8, 6, 118


def text_summary(answers: Mapping[str, Answer], meta: Meta) -> str:
    """Title, data, verdicts, first findings of every question, alerts and failures with their texts; never cut.

    Example:
        >>> from kdlens.answer import Notes
        >>> print(text_summary({"accuracy": Answer("accuracy", Notes("Did it help?"))}, Meta("What did kd learn?")))
        What did kd learn?
        1 answer: accuracy
    """
    lines = [meta.title]
    if meta.data.n:
        classes = count(len(meta.data.classes), "class", "classes")
        lines.append(f"{meta.data.name or 'data'}: {count(meta.data.n, 'image')}, {classes}")
    lines += [f.text for answer in answers.values() for f in answer.findings if f.kind == "verdict"]
    each = max(2, _SENTENCES // max(1, len(answers)))
    for answer in answers.values():
        lines += [f.text for f in answer.findings if f.kind == "finding"][:each]
    return "\n".join(_wrapped(visible(line)) for line in [*lines, *_foot(answers, meta)])


def _foot(answers: Mapping[str, Answer], meta: Meta) -> list[str]:
    alerts = [*meta.alerts, *(f.text for answer in answers.values() for f in answer.findings if f.kind == "alert")]
    lines = [f"{count(len(alerts), 'alert')}: read them before you trust a number"] if alerts else []
    lines += [f"- {text}" for text in alerts[:_ALERTS]]
    lines += [f"- and {len(alerts) - _ALERTS} more in the report"] if len(alerts) > _ALERTS else []
    lines += [f"{question} failed: {' '.join(error.split())}" for question, error in meta.failed.items()]
    return [*lines, f"{count(len(answers), 'answer')}: {', '.join(answers)}" if answers else "no answers"]


def _wrapped(line: str) -> str:
    return textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
