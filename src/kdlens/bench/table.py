"""The benchmark's results as a table of plain text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdlens.bench.planted import Line

_HEAD = ("world", "direction", "method", "right", "95 %", "chance", "taught", "shared", "other", "elsewhere", "empty",
         "truth")  # fmt: skip
_LEFT = 3  # columns of words


def table(lines: Sequence["Line"]) -> str:
    """Columns for people; a world's name is written once."""
    rows: list[tuple[str, ...]] = [_HEAD]
    before = ""
    for line in lines:
        rows.append((line.world if line.world != before else "", *_cells(line)))
        before = line.world
    widths = [max(len(row[k]) for row in rows) for k in range(len(_HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) if k < _LEFT else cell.rjust(width) for k, (cell, width) in enumerate(pairs))
        for row in rows
        for pairs in [zip(row, widths, strict=True)]
    )


def _cells(line: "Line") -> tuple[str, ...]:
    interval = "-" if line.low is None or line.high is None else f"{line.low:.2f} to {line.high:.2f}"
    return (
        line.direction,
        line.method,
        _two(line.right),
        interval,
        *(_two(value) for value in (line.chance, line.taught, line.shared, line.other, line.elsewhere, line.empty)),
        " / ".join(f"{share:.2f}" for share in line.truth),
    )


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
