"""CSV files of a dataset, in which every error is told with its file and row."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kdlens.data.files import shown
from kdlens.errors import DataError


class Row(NamedTuple):
    """The cells of a row in the order of the columns that were asked for, and the line it ends on."""

    line: int
    cells: tuple[str, ...]


class Table(NamedTuple):
    """A table: its file, the columns that were asked for, and the rows."""

    path: Path
    columns: tuple[str, ...]
    rows: list[Row]

    def where(self, row: Row) -> str:
        """What to call a row in an error."""
        return f"{shown(self.path)}, line {row.line}"


def read_table(path: Path, columns: Sequence[str]) -> Table:
    r"""Read some columns of a CSV file whose first row names them. Blank rows are left out.

    Args:
        path: the file, UTF-8 with or without a byte-order mark.
        columns: names of the columns to keep; others may be there.

    Raises:
        DataError: the file is missing, not UTF-8 or not CSV, lacks a column, or a row has more or fewer cells than the
            first.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     path = Path(place) / "label.csv"
        ...     _ = path.write_text("number,name\n1,sky\n\n2,tree\n")
        ...     read_table(path, ["name"]).rows
        [Row(line=2, cells=('sky',)), Row(line=4, cells=('tree',))]
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _read(path, stream, columns)
    except UnicodeDecodeError as error:
        raise DataError(f"{shown(path)} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"cannot read {shown(path)}: {error}") from error


def _read(path: Path, stream: Iterator[str], columns: Sequence[str]) -> Table:
    reader = csv.reader(stream)
    head = [name.strip() for name in next((row for row in reader if any(row)), [])]
    for name in columns:
        if head.count(name) != 1:
            has = "has no column" if name not in head else "has more than one column"
            raise DataError(f'{shown(path)} {has} "{shown(name)}"; its columns are {shown(", ".join(head)) or "none"}')
    places = [head.index(name) for name in columns]
    rows = []
    for cells in reader:
        if len(cells) == len(head):
            rows.append(Row(reader.line_num, tuple([cells[place].strip() for place in places])))
        elif any(cell.strip() for cell in cells):
            raise DataError(
                f"{shown(path)}, line {reader.line_num} has {len(cells)} cells; expected {len(head)}, as the first row"
            )
    return Table(path, tuple(columns), [row for row in rows if any(row.cells)])
