"""The numbers of a report as JSON that can stand inside a page."""

import json
import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from kdlens.answer import COLUMNS, Answer
from kdlens.report.meta import Meta
from kdlens.visible import HIDDEN

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def report_dict(answers: Mapping[str, Answer], meta: Meta) -> dict[str, Any]:
    """Everything but the arrays as plain values: meta, and for every question notes, rows and findings."""
    return {"meta": _plain(meta.to_dict()), "answers": {name: answer_dict(answer) for name, answer in answers.items()}}


def answer_dict(answer: Answer) -> dict[str, Any]:
    """One answer: notes, columns and rows of the table, findings, and the shapes of its arrays."""
    notes = answer.notes
    return {
        "question": answer.question,
        "notes": {
            "question": notes.question,
            "method": notes.method,
            "how_to_read": notes.how_to_read,
            "limits": notes.limits,
            "sources": list(notes.sources),
            "options": _plain(notes.options),
        },
        "columns": list(COLUMNS),
        "rows": [[_plain(getattr(row, name)) for name in COLUMNS] for row in answer.rows],
        "findings": [{"text": f.text, "rows": list(f.rows), "kind": f.kind, "tone": f.tone} for f in answer.findings],
        "arrays": {name: list(array.shape) for name, array in answer.arrays.items()},
    }


def embedded_json(content: Any) -> Markup:
    r"""JSON for a script element of type `application/json`: no character in it can end the element, or hide.

    Example:
        >>> print(embedded_json({"name": "</script>", "x": float("nan")}))
        {"name":"\u003c/script\u003e","x":null}
    """
    text = json.dumps(_plain(content), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text = HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)
    return Markup("".join(_UNSAFE.get(letter, letter) for letter in text))  # noqa: S704 - escaped here


def _plain(value: Any) -> Any:
    """JSON values only; numbers that JSON has not become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return _plain(value.item())  # a number of NumPy or torch
    return str(value)
