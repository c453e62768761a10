"""The report in ten lines of plain text, for terminals and notebooks that do not trust HTML."""

import textwrap
from collections.abc import Mapping

from kdlens.answer import Answer
from kdlens.report.meta import Meta
from kdlens.report.numbers import count
from kdlens.visible import visible

_LINES, _WIDTH = 10, 118


def text_summary(answers: Mapping[str, Answer], meta: Meta) -> str:
    """Title, data, verdicts, then as many findings as fit, then how many alerts and failures there are.

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
    foot = _foot(answers, meta)
    found = [f for answer in answers.values() for f in answer.findings]
    said = [f.text for f in found if f.kind == "verdict"] + [f.text for f in found if f.kind == "finding"]
    lines += said[: _LINES - len(lines) - len(foot)]
    return "\n".join(textwrap.shorten(visible(line), _WIDTH, placeholder=" …") for line in [*lines, *foot])


def _foot(answers: Mapping[str, Answer], meta: Meta) -> list[str]:
    alerts = len(meta.alerts) + sum(f.kind == "alert" for answer in answers.values() for f in answer.findings)
    lines = [f"{count(alerts, 'alert')}: read them before you trust a number"] if alerts else []
    lines += [f"failed: {', '.join(meta.failed)}"] if meta.failed else []
    return [*lines, f"{count(len(answers), 'answer')}: {', '.join(answers)}" if answers else "no answers"]
