"""Conflicts between classes: cosines of gradients side by side, pairs that changed, who reads which expert."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdlens.answer import Answer, Row
from kdlens.report.blocks import Block, Cell, Grid, Picker, Table
from kdlens.report.matrices import Axis as Classes
from kdlens.report.matrices import Diverging, matrix_chart
from kdlens.report.names import metric_name
from kdlens.report.numbers import MISSING, interval_text, known, number, p_text, short_name
from kdlens.report.routing import MOST_CLASSES, routing_chart
from kdlens.report.rows import measured
from kdlens.report.sections.generic import generic_blocks
from kdlens.report.setting import Setting
from kdlens.report.strips import strip

_STORIES = {
    "pair_stopped": "stopped pulling apart",
    "pair_started": "started pulling apart",
    "pair_moved": "no sure change of sign",
}
_ROWS = 24
_STRIPS = ("conflict_rate", "conflict_rate_change", "conflict_cosine", "conflict_cosine_change")
_GROUPING = ("tree_purity", "tree_ari", "routing_ari")
_NOTES = {
    "conflict_rate": "Share of pairs whose gradients in the shared layer point apart. Tick: labels dealt anew.",
    "conflict_rate_change": "Student minus baseline, on the same batches.",
    "conflict_cosine": "1: all classes pull the same way. Tick: labels dealt anew.",
    "conflict_cosine_change": "Student minus baseline, on the same batches.",
    "tree_purity": "Share of classes in the commonest superclass of their expert. Tick: superclasses dealt anew.",
    "tree_ari": "Classes of one expert against superclasses: 1 the same, 0 by chance.",
    "routing_ari": "As many clusters of attention as superclasses: 1 the same, 0 by chance.",
}
_MATRIX = "Orange: a step for one class hurts the other. Blue: it helps both. One scale for all."
_ROUTING = (
    "Line width: how much is read. Coloured: what each reads most, the tree. Dashed: read most by none. First seed."
)
_ATTENTION = "Entropy: 0 if one is read alone, at most the number in brackets. Information: 0 if all read alike."


def conflict_blocks(answer: Answer, setting: Setting) -> Sequence[Block]:
    """Rates and changes, matrices, pairs, then attention where some network has it."""
    if not answer.rows:
        return generic_blocks(answer, setting)
    students, anchor = setting.students(answer), setting.anchors.get(answer.question, answer.question)
    blocks: list[Block | None] = [
        _grid([_strip(answer, setting, metric) for metric in _STRIPS]),
        _picker(f"{anchor}-matrices", students, [_matrices(answer, setting, s, students) for s in students]),
        _picker(f"{anchor}-pairs", students, [_pairs(answer, setting, s, students) for s in students]),
        _picker(f"{anchor}-routing", students, [_routing(answer, setting, s, students) for s in students]),
        _grid([_strip(answer, setting, metric) for metric in _GROUPING], title="Do superclasses share experts?"),
        _attention(answer),
        _virtual(answer),
    ]
    return [block for block in blocks if block is not None] or generic_blocks(answer, setting)


def _grid(blocks: Sequence[Block | None], *, title: str = "") -> Grid | None:
    shown = tuple(block for block in blocks if block is not None)
    return Grid(title=title, blocks=shown, least="wide") if shown else None


def _picker(name: str, students: Sequence[str], blocks: Sequence[Block | None]) -> Picker | None:
    shown = tuple(block for block in blocks if block is not None)
    return Picker(name=name, students=tuple(students), blocks=shown, everyone=False) if shown else None


def _strip(answer: Answer, setting: Setting, metric: str) -> Block | None:
    margin = answer.notes.options.get("margin")
    zone = (
        float(margin) if metric == "conflict_rate_change" and isinstance(margin, int | float) and margin > 0 else None
    )
    note = f"{_NOTES[metric]} Shaded: within {margin:g} points of 0." if zone else _NOTES[metric]
    return strip(measured(answer, metric), title=metric_name(metric), note=note, colour=setting.colour, zone=zone)


def _matrices(answer: Answer, setting: Setting, student: str, students: Sequence[str]) -> Grid | None:
    """Baseline, student and teacher on one scale."""
    every = _arrays(answer, "conflict.")
    if "order" not in answer.arrays:
        return None
    classes = _classes(answer, setting)
    apart = [np.where(np.eye(len(a), dtype=bool), np.nan, a) for a in every.values()]
    largest = max((float(np.nanquantile(np.abs(a), 0.98)) for a in apart if np.isfinite(a).any()), default=1.0)
    shading = Diverging(max(0.05, round(largest, 2)))
    names = [name for name in (_baseline(answer, student), student) if name in every]
    names += [name for name in every if setting.role(name) == "teacher"]
    charts = [
        matrix_chart(every[name], classes, shading, title=name, css=setting.role(name), note=_MATRIX if not at else "")
        for at, name in enumerate(names)
    ]
    title = "Which classes pull apart" + (f": {student}" if len(students) > 1 else "")
    return Grid(title=title, student=students.index(student), blocks=tuple(charts), least="trio") if charts else None


def _arrays(answer: Answer, start: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(start): array for name, array in answer.arrays.items() if name.startswith(start)}


def _classes(answer: Answer, setting: Setting) -> Classes:
    """How the classes stand along the matrices."""
    order = [int(k) for k in answer.arrays["order"]]
    superclass = [int(c) for c in answer.arrays.get("superclass", np.full(len(order), -1))]
    given = answer.notes.options.get("superclasses")
    names = [str(name) for name in given] if isinstance(given, Mapping) else []
    names += [f"superclass {c + 1}" for c in range(len(names), max(superclass, default=-1) + 1)]
    return Classes(order, [setting.class_name(k) for k in range(len(order))], superclass, names)


def _baseline(answer: Answer, student: str) -> str:
    """Whom the student is compared with."""
    found = (row.compared_with for row in answer.select(metric="conflict_rate_change", model=student))
    return next(found, "baseline")


def _pairs(answer: Answer, setting: Setting, student: str, students: Sequence[str]) -> Grid | None:
    """Pairs that changed sign first, then those that changed most."""
    rows = [row for story in _STORIES for row in answer.select(metric=story, model=student)]
    if not rows:
        return None
    cosines = {(row.model, row.class_name): row for row in answer.select(metric="pair_cosine")}
    names = [_baseline(answer, student), student]
    names += [name for name in dict.fromkeys(row.model for row in cosines.values()) if setting.role(name) == "teacher"]
    note = "p is over batches, corrected for the number of pairs. Below 0: the two pull apart."
    left_out = len(rows) - _ROWS
    note += f" {left_out} more pairs are in the table of numbers." if left_out > 0 else ""
    columns = ("Classes", "What became of it", *names, "Change", "p")
    table = Table(
        title="Pairs of classes" + (f": {student}" if len(students) > 1 else ""),
        columns=columns,
        numeric=(False, False, *(True for _ in columns[2:])),
        rows=tuple(_pair(row, [cosines.get((name, row.class_name)) for name in names]) for row in rows[:_ROWS]),
        note=note,
    )
    return Grid(blocks=(table,), student=students.index(student), least="tables")


def _pair(row: Row, found: Sequence[Row | None]) -> tuple[Cell, ...]:
    return (
        Cell(short_name(row.class_name), "head"),
        Cell(_STORIES[row.metric]),
        *(_number(one) for one in found),
        Cell(number(row.value, signed=True), "number", detail=interval_text(row.low, row.high, signed=True)),
        Cell(p_text(row.p) or MISSING, "number", why="" if row.p is not None else "too few batches"),
    )


def _number(row: Row | None, *, signed: bool = False) -> Cell:
    if row is None or not known(row.value):
        return Cell(MISSING, "number", why="not measured")
    unit = "%" if row.unit == "%" else ""
    text = number(row.value, row.unit, signed=signed)
    detail = interval_text(row.low, row.high, row.unit, signed=signed)
    return Cell(f"{text}\N{NO-BREAK SPACE}%" if unit else text, "number", detail=detail)


def _routing(answer: Answer, setting: Setting, student: str, students: Sequence[str]) -> Grid | None:
    """Baseline and student as graphs, and the groups of the student's tree where classes are too many for names."""
    classes = len(answer.arrays.get("order", ()))
    names = [setting.class_name(k) for k in range(classes)]
    found: list[Block] = []
    for name in (_baseline(answer, student), student):
        rows = _routes(answer, name)
        if rows:
            note = "" if found else _ROUTING
            found.append(routing_chart(rows, names, title=name, css=setting.role(name), note=note))
    if not _routes(answer, student):
        return None
    title = "Which classes share experts" + (f": {student}" if len(students) > 1 else "")
    graphs = Grid(blocks=tuple(found), least="wide")
    table = (Grid(blocks=(_groups(answer, student, names),), least="tables"),) if classes > MOST_CLASSES else ()
    return Grid(title=title, student=students.index(student), blocks=(graphs, *table), least="tables")


def _routes(answer: Answer, name: str) -> list[np.ndarray]:
    """The rows of a network's attentions, first level to classes."""
    found = _arrays(answer, f"routing.{name}.")
    return [found[key] for key in sorted((key for key in found if key.isdecimal()), key=int)]


def _groups(answer: Answer, name: str, names: Sequence[str]) -> Table:
    """Every expert of the last level with the classes that read it most."""
    groups: dict[int, list[str]] = {}
    for c, expert in enumerate(_routes(answer, name)[-1].argmax(1).tolist()):
        groups.setdefault(expert, []).append(names[c])
    rows = tuple(
        (Cell(str(expert), "head"), Cell(str(len(group)), "number"), Cell(", ".join(group)))
        for expert, group in sorted(groups.items())
    )
    columns = ("Expert", "Classes", "Which")
    return Table(title=f"Experts of the last level: {name}", columns=columns, numeric=(False, True, False), rows=rows)


def _attention(answer: Answer) -> Table | None:
    """Every attention of every network."""
    entropies = [row for row in answer.select(metric="attention_entropy") if row.seed is None]
    if not entropies:
        return None
    more = ("attention_information", "attention_spread")
    plain = ("attention_temperature", "dead_experts")
    rows = []
    for row in entropies:
        counts = [next(iter(answer.select(metric=m, model=row.model, layer=row.layer, seed=None)), None) for m in plain]
        others = [
            next(iter(answer.select(metric=metric, model=row.model, layer=row.layer, seed=None)), None)
            for metric in more
        ]
        entropy = Cell(
            f"{number(row.value)} ({number(row.chance)})", "number", detail=interval_text(row.low, row.high, row.unit)
        )
        rows.append(
            (
                Cell(row.model, "head"),
                Cell(short_name(row.layer)),
                entropy,
                *(_number(one) for one in others),
                *(_plain(one) for one in counts),
            )
        )
    columns = ("Network", "Reads", "Entropy, nats", "Information, nats", "Spread of logits", "T", "Dead")
    numeric = (False, False, *(True for _ in columns[2:]))
    return Table(title="Attention", columns=columns, numeric=numeric, rows=tuple(rows), note=_ATTENTION)


def _plain(row: Row | None) -> Cell:
    """A setting or a count: as short as it is."""
    return Cell(MISSING if row is None or not known(row.value) else f"{row.value:.3g}", "number", why="not measured")


def _virtual(answer: Answer) -> Table | None:
    """Virtual attention on and off."""
    names = dict.fromkeys(row.model for row in answer.select(metric="vam_top1_change"))
    if not names:
        return None
    metrics = ("top1_trained", "top1_even", "top1_change", "nll_trained", "nll_even", "nll_change")
    rows = []
    for name in names:
        found = {metric: next(iter(answer.select(metric=f"vam_{metric}", model=name)), None) for metric in metrics}
        cells = [_number(row, signed=metric.endswith("change")) for metric, row in found.items()]
        extra = next(iter(answer.select(metric="vam_parameters", model=name)), None)
        share = next(iter(answer.select(metric="vam_parameters_share", model=name)), None)
        cost = "" if share is None else f"{number(share.value, '%')}\N{NO-BREAK SPACE}% of all"
        count = MISSING if extra is None else number(extra.value, "images")
        rows.append((Cell(name, "head"), *cells, Cell(count, "number", detail=cost)))
    columns = ("Network", "Top-1", "even", "difference", "Log-loss", "even", "difference", "Parameters")
    note = "Even: the trained network with its attention made even. No parameter is left once attention is folded."
    numeric = (False, *(True for _ in columns[1:]))
    return Table(
        title="Virtual attention, as trained and even", columns=columns, numeric=numeric, rows=tuple(rows), note=note
    )
