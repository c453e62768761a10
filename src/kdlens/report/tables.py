"""Tables: the networks at a glance, and every row of an answer."""

from collections.abc import Sequence

from kdlens.answer import Answer, Row
from kdlens.report.blocks import Cell, Table
from kdlens.report.meta import Meta, ModelCard
from kdlens.report.names import metric_name
from kdlens.report.numbers import MISSING, count, interval_text, known, number, p_text, signed, value_text, with_unit
from kdlens.report.rows import measured, reason_of, reasons
from kdlens.report.sentences import row_anchor
from kdlens.report.strips import number_text

_QUALITY = ("top1", "ece", "nll", "agreement", "kl_to_teacher")
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
    """One row a network: what it is, and how good it is where that was asked."""
    names = list(dict.fromkeys(card.name for card in meta.models))
    metrics = [m for m in _QUALITY if accuracy is not None and accuracy.select(metric=m)]
    rows = tuple(_model(name, [c for c in meta.models if c.name == name], metrics, accuracy) for name in names)
    columns = ("Network", "Architecture", *map(metric_name, metrics), "Layers", "Weights")
    numeric = (False, False, *(True for _ in metrics), False, False)
    return Table(columns=columns, rows=rows, numeric=numeric)


def _model(name: str, cards: Sequence[ModelCard], metrics: Sequence[str], accuracy: Answer | None) -> tuple[Cell, ...]:
    first = cards[0]
    role = first.role if first.role != name else ""
    seeds = count(len(cards), "seed") if len(cards) > 1 else ""
    about = Cell(name, "head", detail=", ".join(part for part in (role, seeds) if part), css=first.role)
    arch = Cell(first.arch or MISSING, detail=count(first.parameters, "parameter") if first.parameters else "")
    weights = "\n".join(dict.fromkeys(card.weights for card in cards if card.weights))
    prints = ", ".join(dict.fromkeys(card.fingerprint for card in cards if card.fingerprint))
    kept = Cell(weights or ("in memory" if prints else MISSING), "file", detail=prints)
    quality = [_quality(name, metric, accuracy) for metric in metrics]
    return (about, arch, *quality, Cell("\n".join(first.layers) or MISSING, "file"), kept)


def _quality(name: str, metric: str, accuracy: Answer | None) -> Cell:
    found = next((m for m in measured(accuracy, metric) if m.row.model == name), None) if accuracy else None
    if found is None:
        return Cell(MISSING, "number", why="not measured for this network")
    value, _, interval = number_text(found).partition(" [")
    why = "undefined for these images" if value == MISSING else ""
    return Cell(value, "number", why=why, detail=f"[{interval}" if interval else "")


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
    return str(getattr(row, name))
