"""Answer: what every question returns. A long table, arrays, and sentences that point to the rows they rest on.

An answer knows nothing of networks or images; it can be saved, loaded, put into a frame, drawn and merged, and it holds
everything the report shows.
"""

import csv
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Row:
    """One number with all that is needed to judge it.

    Attributes:
        metric: what was measured, e.g. `"rs_distilled"`.
        value: the number; NaN where it is undefined (the reason is then in a finding).
        model: name of the network the number is about.
        compared_with: name of the network it was measured against, if any.
        seed: index of the training seed; `None` for a number over seeds.
        layer: dotted layer name, if any.
        class_name: the class, if the number is about one.
        low: lower end of the 95 % interval, if known.
        high: upper end of the 95 % interval, if known.
        chance: the value expected if there were no effect, if known.
        n: number of images (or seeds, where `seed` is None and the unit says so) behind it.
        p: p-value against the null hypothesis, if one was tested.
        unit: unit of `value` (`"%"`, `"bits"`, `"images"`, `""` for a pure number).
        question: name of the question (filled in by `Answer`).
    """

    metric: str
    value: float
    model: str = ""
    compared_with: str = ""
    seed: int | None = None
    layer: str = ""
    class_name: str = ""
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    n: int | None = None
    p: float | None = None
    unit: str = ""
    question: str = ""


COLUMNS = tuple(f.name for f in fields(Row))


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence about the result, and the rows (indices into the table) that support it.

    `kind` is `"verdict"` for the one answer to the question, `"finding"` for what was seen, and `"alert"` for something
    the reader must know before trusting a number. `tone` colours it: good, bad, or neither.
    """

    text: str
    rows: tuple[int, ...] = ()
    kind: Literal["verdict", "finding", "alert"] = "finding"
    tone: Literal["good", "bad", "neutral"] = "neutral"


@dataclass(frozen=True, slots=True)
class Notes:
    """How the numbers were made: shown under every section of the report.

    Attributes:
        question: the question as a person would ask it.
        method: the method in two or three plain sentences, with its formula as text.
        how_to_read: how to read the numbers.
        limits: when not to trust them.
        sources: papers, with equation numbers where they apply.
        options: the options used, resolved; values that JSON can hold.
    """

    question: str
    method: str = ""
    how_to_read: str = ""
    limits: str = ""
    sources: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(repr=False)
class Answer:
    """The result of one question.

    Args:
        question: registered name of the question.
        notes: method notes.
        rows: the long table.
        arrays: named arrays (maps, matrices, images) for the figures.
        findings: verdict, findings and alerts.

    Example:
        >>> answer = Answer("accuracy", Notes("Did it help?"))
        >>> i = answer.add(Row("top1", 91.5, model="kd", n=2000, unit="%"))
        >>> answer.say("kd reaches 91.5 %.", rows=[i])
        >>> answer.value("top1", model="kd")
        91.5
        >>> answer
        Answer('accuracy', 1 row, 1 finding, 0 arrays)
    """

    question: str
    notes: Notes
    rows: list[Row] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, row: Row) -> int:
        """Append a row and return its index, by which findings refer to it."""
        self.rows.append(Row(**{**asdict(row), "question": self.question}))
        return len(self.rows) - 1

    def say(
        self,
        text: str,
        *,
        rows: Iterable[int] = (),
        kind: Literal["verdict", "finding", "alert"] = "finding",
        tone: Literal["good", "bad", "neutral"] = "neutral",
    ) -> None:
        """Add a finding. Only an alert may stand without supporting rows.

        Raises:
            ValueError: a verdict or finding names no row, or a row that does not exist.
        """
        support = tuple(rows)
        if kind != "alert" and not support:
            raise ValueError(f"a {kind} needs the rows that support it: {text!r}")
        if any(not 0 <= i < len(self.rows) for i in support):
            raise ValueError(f"finding names rows {support} but the table has {len(self.rows)}")
        self.findings.append(Finding(text, support, kind, tone))

    def select(self, **columns: Any) -> list[Row]:
        """Return the rows whose columns equal the given values, e.g. `select(metric="top1", model="kd")`."""
        unknown = set(columns) - set(COLUMNS)
        if unknown:
            raise ValueError(f"no such column: {sorted(unknown)}; columns are {', '.join(COLUMNS)}")
        return [row for row in self.rows if all(getattr(row, name) == value for name, value in columns.items())]

    def value(self, metric: str, **columns: Any) -> float:
        """Return the one value that fits; raise `LookupError` when none or several do."""
        found = self.select(metric=metric, **columns)
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows have metric={metric!r} and {columns}; expected one")
        return found[0].value

    @property
    def table(self) -> "pd.DataFrame":
        """The long table, one row a number."""
        return self.to_frame()

    def to_frame(self) -> "pd.DataFrame":
        """Return the rows as a data frame with one column per field of `Row`."""
        import pandas as pd  # heavy, and only needed here

        frame = pd.DataFrame([asdict(row) for row in self.rows], columns=list(COLUMNS))
        for name in ("value", "low", "high", "chance", "p"):
            frame[name] = frame[name].astype("float64")
        for name in ("seed", "n"):
            frame[name] = frame[name].astype("Int64")
        return frame

    def figure(self) -> "Figure":
        """Draw the question's main figure."""
        from kdlens.report.figures import figure_of  # drawing sits above answers; only a call may reach up

        return figure_of(self)

    def __repr__(self) -> str:
        held = (len(self.rows), "row"), (len(self.findings), "finding"), (len(self.arrays), "array")
        counts = [f"{count} {thing}{'' if count == 1 else 's'}" for count, thing in held]
        return f"Answer({self.question!r}, {', '.join(counts)})"

    def _repr_html_(self) -> str:
        from kdlens.report.notebook import answer_card

        return answer_card(self)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `table.csv`, `arrays.safetensors` and `findings.json` into an existing, empty folder."""
        from safetensors.numpy import save_file

        folder = Path(folder)
        with (folder / "table.csv").open("w", encoding="utf-8", errors="surrogatepass", newline="") as stream:
            self.to_frame().to_csv(stream, index=False, quoting=csv.QUOTE_NONNUMERIC)  # a name may hold a line's end
        save_file({name: np.array(a, order="C") for name, a in self.arrays.items()}, folder / "arrays.safetensors")
        head = {
            "question": self.question,
            "notes": asdict(self.notes),
            "findings": [asdict(finding) for finding in self.findings],
        }
        text = json.dumps(head, indent=1, ensure_ascii=False)
        text = _HALVES.sub(lambda half: json.dumps(half[0])[1:-1], text)
        (folder / "findings.json").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Answer":
        """Read an answer written by `save`."""
        import pandas as pd
        from safetensors.numpy import load_file

        folder = Path(folder)
        head = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
        frame = pd.read_csv(
            folder / "table.csv",
            keep_default_na=False,
            na_values={name: [""] for name in _NUMBERS},
            dtype=_DTYPES,
            encoding_errors="surrogatepass",
        )
        notes = Notes(**{**head["notes"], "sources": tuple(head["notes"]["sources"])})
        findings = [Finding(**{**f, "rows": tuple(f["rows"])}) for f in head["findings"]]
        rows = [_row(record) for record in frame.to_dict("records")]
        return cls(head["question"], notes, rows, load_file(folder / "arrays.safetensors"), findings)


_HALVES = re.compile("[\\ud800-\\udfff]")
"""Halves of characters, as a file name that is not UTF-8 has them: JSON can hold them as escapes only."""

_NUMBERS = ("value", "low", "high", "chance", "p", "seed", "n")
_DTYPES: dict[str, str] = {name: "float64" if name in _NUMBERS else "str" for name in COLUMNS}


def _row(record: dict[Any, Any]) -> Row:
    """Undo what a table of numbers does to missing values and integers."""
    for name in ("low", "high", "chance", "p", "seed", "n"):
        if np.isnan(record[name]):
            record[name] = None
        elif name in ("seed", "n"):
            record[name] = int(record[name])
    return Row(**record)
