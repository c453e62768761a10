"""Tables: the networks at a glance, and every row of an answer."""

from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.report.blocks import Cell, Table
from kdlens.report.meta import Meta, ModelCard
from kdlens.report.names import metric_name
from kdlens.report.numbers import (
    MISSING,
    count,
    interval_text,
    known,
    number,
    p_text,
    short_name,
    signed,
    value_text,
    with_unit,
)
from kdlens.report.rows import measured, reason_of, reasons
from kdlens.report.sentences import row_anchor
from kdlens.report.strips import interval_of, value_with_unit

_QUALITY = {
    "top1": "Top-1",
    "ece": "ECE",
    "nll": "Log-loss",
    "agreement": "Agreement",
    "kl_to_teacher": "KL from teacher",
}
_COLUMNS = (
    ("Measure", "metric"),
    ("Model", "model"),
    ("Compared with", "compared_with"),
    ("Seed", "seed"),
    ("Layer", "layer"),
    ("Class", "class_name"),
    ("Value", "value"),
    ("95 % interval", "interval"),
    ("Chance", "chance"),
    ("n", "n"),
    ("p", "p"),
    ("Unit", "unit"),
)
_NUMERIC = {"seed", "value", "interval", "chance", "n", "p"}


def models_table(meta: Meta, accuracy: Answer | None) -> Table:
    """One row a network, over its seeds: what it is, and how good it is where that was asked."""
    names = list(dict.fromkeys(card.name for card in meta.models))
    metrics = [m for m in _QUALITY if accuracy is not None and accuracy.select(metric=m)]
    rows = tuple(_model(name, [c for c in meta.models if c.name == name], metrics, accuracy) for name in names)
    columns = ("Network", "Architecture", *(_QUALITY[metric] for metric in metrics))
    numeric = (False, False, *(True for _ in metrics))
    return Table(columns=columns, rows=rows, numeric=numeric)


def _model(name: str, cards: Sequence[ModelCard], metrics: Sequence[str], accuracy: Answer | None) -> tuple[Cell, ...]:
    first = cards[0]
    role = first.role if first.role != name else ""
    seeds = count(len(cards), "seed") if len(cards) > 1 else ""
    about = Cell(name, "head", detail=", ".join(part for part in (role, seeds) if part), css=first.role)
    arch = Cell(first.arch or MISSING, detail=count(first.parameters, "parameter") if first.parameters else "")
    return (about, arch, *(_quality(first, metric, accuracy) for metric in metrics))


def _quality(card: ModelCard, metric: str, accuracy: Answer | None) -> Cell:
    found = next((m for m in measured(accuracy, metric) if m.row.model == card.name), None) if accuracy else None
    if found is None:
        own = card.role == "teacher" and metric in ("agreement", "kl_to_teacher")
        return Cell(MISSING, "number", why="the teacher itself" if own else "not measured")
    value = value_with_unit(found)
    why = reason_of(accuracy, found.index, reasons(accuracy)) if value == MISSING and accuracy else ""
    return Cell(value, "number", why=why, detail=interval_of(found))


def weights_table(meta: Meta) -> Table:
    """Which weights were explained, and at which layers: one row a network and seed."""
    rows = tuple(
        (
            Cell(card.name, "head", css=card.role),
            Cell(str(card.seed), "number"),
            Cell(card.weights or "in memory", "file"),
            Cell(card.fingerprint or MISSING, "file"),
            Cell(", ".join(card.layers) or MISSING, "file"),
        )
        for card in meta.models
    )
    columns = ("Network", "Seed", "Weights", "Fingerprint", "Layers")
    return Table(columns=columns, rows=rows, numeric=(False, True, False, False, False))


def answer_table(answer: Answer, anchor: str, *, most: int) -> Table:
    """Every row of an answer; of a very long one those that findings rest on, and the first others."""
    support = dict.fromkeys(i for f in answer.findings for i in f.rows if i < len(answer.rows))
    shown = range(len(answer.rows)) if len(answer.rows) <= most else _chosen(len(answer.rows), support, most)
    columns = [(title, name) for title, name in _COLUMNS if _used(answer, name)]
    why = reasons(answer)
    rows = tuple(tuple(_cell(answer, i, name, why) for _, name in columns) for i in shown)
    left_out = len(answer.rows) - len(rows)
    note = f"{count(left_out, 'more row')} in the download, and in table.csv of the run folder." if left_out else ""
    return Table(
        title=count(len(answer.rows), "number"),
        note=note,
        columns=tuple(title for title, _ in columns),
        rows=rows,
        numeric=tuple(name in _NUMERIC for _, name in columns),
        anchors=tuple(row_anchor(anchor, i) for i in shown),
    )


def summary_table(answer: Answer, *, most: int) -> Table:
    """The first numbers of an answer, over seeds where there are several; verdicts' and findings' numbers first."""
    support = list(dict.fromkeys(i for f in answer.findings for i in f.rows if i < len(answer.rows)))
    others = [i for i, row in enumerate(answer.rows) if i not in set(support) and row.seed is None]
    shown = [*support, *(others or range(len(answer.rows) if not support else 0))][:most]
    columns = [(title, name) for title, name in _COLUMNS if name not in ("chance", "p", "seed") and _used(answer, name)]
    why = reasons(answer)
    left_out = len(answer.rows) - len(shown)
    return Table(
        note=f"{count(left_out, 'more row')} in .table." if left_out else "",
        columns=tuple(title for title, _ in columns),
        rows=tuple(tuple(_cell(answer, i, name, why) for _, name in columns) for i in shown),
        numeric=tuple(name in _NUMERIC for _, name in columns),
    )


def _chosen(rows: int, support: dict[int, None], most: int) -> list[int]:
    others = (i for i in range(rows) if i not in support)
    room = max(0, most - len(support))
    return sorted([*support, *(i for i, _ in zip(others, range(room), strict=False))])


def _used(answer: Answer, name: str) -> bool:
    if name in ("metric", "value"):
        return True
    if name == "interval":
        return any(known(row.low) for row in answer.rows)
    if name == "unit":
        return False  # the unit stands beside the value
    if name in ("chance", "p"):
        return any(known(getattr(row, name)) for row in answer.rows)
    return any(getattr(row, name) not in (None, "") for row in answer.rows)


def _cell(answer: Answer, index: int, name: str, why: dict[int, str]) -> Cell:
    row = answer.rows[index]
    if name == "metric":
        return Cell(metric_name(row.metric), "head", detail=row.metric)
    if name == "value":
        text = value_text(row)
        reason = reason_of(answer, index, why) if text == MISSING else ""
        return Cell(with_unit(text, row.unit), "number", why=reason)
    return Cell(_text(row, name), "number" if name in _NUMERIC else "text")


def _text(row: Row, name: str) -> str:
    if name == "interval":
        return interval_text(row.low, row.high, row.unit, signed=signed(row))
    if name == "chance":
        return number(row.chance, row.unit) if known(row.chance) else ""
    if name == "p":
        return p_text(row.p)
    if name == "seed":
        return "all" if row.seed is None else str(row.seed)
    if name == "n":
        return "" if row.n is None else f"{row.n:,}"
    text = str(getattr(row, name))
    return short_name(text) if name == "class_name" else text
