"""Rows of an answer, the seeds of one number put together."""

from collections.abc import Sequence
from dataclasses import dataclass

from kdlens.answer import Answer, Row
from kdlens.report.numbers import shorten

Identity = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Measured:
    """One number of an answer.

    Attributes:
        row: the number over seeds, or of the only seed.
        index: its place in the table.
        seeds: the rows of the single seeds, if there are several.
        null: lower and upper end of what chance gives, where the answer has a row for it.
        apart: whether this is one of several seeds for which there is no number over seeds.
    """

    row: Row
    index: int
    seeds: tuple[Row, ...] = ()
    null: tuple[float, float] | None = None
    apart: bool = False

    @property
    def label(self) -> str:
        """The network's name; with its seed where the seeds stand apart."""
        return f"{self.row.model} (seed {self.row.seed})" if self.apart else self.row.model


def measured(answer: Answer, *metrics: str) -> list[Measured]:
    """The numbers of some measures, one each over all its seeds, in the order of the table.

    A row whose measure has the suffix `_null` gives, by its interval, the band that chance fills.

    Example:
        >>> from kdlens.answer import Notes
        >>> rows = [Row("top1", v, model="kd", seed=s) for v, s in [(90.0, 0), (92.0, 1), (91.0, None)]]
        >>> [(m.row.value, len(m.seeds)) for m in measured(Answer("accuracy", Notes(""), rows), "top1")]
        [(91.0, 2)]
    """
    groups: dict[Identity, list[tuple[int, Row]]] = {}
    bands: dict[Identity, tuple[float, float]] = {}
    for index, row in enumerate(answer.rows):
        if row.metric in metrics:
            groups.setdefault(_identity(row), []).append((index, row))
        elif row.metric.endswith("_null") and row.low is not None and row.high is not None:
            bands.setdefault(_identity(row), (row.low, row.high))
    return [found for key, rows in groups.items() for found in _joined(rows, bands.get(key))]


def _joined(rows: Sequence[tuple[int, Row]], band: tuple[float, float] | None) -> list[Measured]:
    """One number over seeds; without such a row, one for every seed."""
    seeds = tuple(row for _, row in rows if row.seed is not None)
    over = [(index, row) for index, row in rows if row.seed is None]
    if over:
        return [Measured(row, index, seeds if len(seeds) > 1 else (), band) for index, row in over[:1]]
    return [Measured(row, index, (), band, apart=len(rows) > 1) for index, row in rows]


def _identity(row: Row) -> Identity:
    return (row.metric.removesuffix("_null"), row.model, row.compared_with, row.layer, row.class_name)


def only(found: Sequence[Measured], **columns: str) -> list[Measured]:
    """Those whose columns equal the given values."""
    return [m for m in found if all(getattr(m.row, name) == value for name, value in columns.items())]


def reasons(answer: Answer) -> dict[int, str]:
    """Row index to the sentence that says why its number is undefined.

    A sentence about several rows says first which they are; a row itself needs only what follows the last colon.
    """
    found: dict[int, str] = {}
    for finding in answer.findings:
        undefined = [i for i in finding.rows if i < len(answer.rows) and _undefined(answer.rows[i])]
        _, colon, why = finding.text.rpartition(": ")
        text = f"{why[:1].upper()}{why[1:]}" if colon and len(undefined) > 1 else finding.text
        for index in undefined:
            found.setdefault(index, text)
    return found


def reason_of(answer: Answer, index: int, known: dict[int, str]) -> str:
    """Why a row has no number: its own finding, an alert that names its network and layer, or a general sentence."""
    row = answer.rows[index]
    if index in known:
        return known[index]
    names = [name for name in (row.model, row.layer, shorten(row.class_name, 50).removesuffix("…")) if name]
    for finding in answer.findings:
        if finding.kind == "alert" and names and all(name in finding.text for name in names):
            return finding.text
    return "undefined for these images"


def _undefined(row: Row) -> bool:
    return row.value != row.value  # NaN
