"""The vocabulary of a Broden folder: label.csv, category.csv and one c_CATEGORY.csv for each category.

Source: Bau et al., Network Dissection, CVPR 2017.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import torch

from kdlens.data.concepts.tables import Row, Table, read_table
from kdlens.data.concepts.vocabulary import LARGEST_LABEL, Vocabulary
from kdlens.data.files import inside, shown
from kdlens.errors import DataError, did_you_mean


def read_words(folder: Path, categories: Sequence[str] | None) -> Vocabulary:
    """Read the vocabulary of the chosen categories; files of others are not opened.

    A label's primary category is the one that covers most of the images with it, among those chosen; of equals the
    later in category.csv.

    Args:
        folder: the Broden folder.
        categories: names of the categories to use; all by default.

    Raises:
        DataError: a file is missing or malformed, or a category is not in category.csv.
    """
    chosen = _chosen(folder / "category.csv", categories)
    names = _names(read_table(folder / "label.csv", ("number", "name")))
    most = [-1.0] * len(names)
    primary = [-1] * len(names)
    for place, category in enumerate(chosen):
        table = read_table(inside(folder, f"c_{category}.csv"), ("number", "coverage"))
        for row in table.rows:
            number, coverage = _number(table, row), _coverage(table, row)
            if number >= len(names) or not names[number]:
                raise DataError(f"{table.where(row)} names label {number}, which label.csv does not have")
            if coverage >= most[number]:
                most[number], primary[number] = coverage, place
    return Vocabulary(tuple(chosen), tuple(names), torch.tensor(primary))


def _chosen(path: Path, categories: Sequence[str] | None) -> list[str]:
    """The chosen categories, in the order of category.csv whichever way they are given."""
    table = read_table(path, ("name",))
    known = [row.cells[0] for row in table.rows]
    for place, row in enumerate(table.rows):
        if row.cells[0] in known[:place]:
            raise DataError(f'{table.where(row)} names the category "{shown(row.cells[0])}" again; each has one row')
    wanted = known if categories is None else [categories] if isinstance(categories, str) else list(categories)
    for name in wanted:
        if name not in known:
            hint = did_you_mean(str(name), known)
            raise DataError(f'broden has no category "{name}"{hint or "."} Known: {shown(", ".join(known))}')
    if not wanted:
        raise DataError(f"broden: name at least one category; {shown(path)} has {shown(', '.join(known)) or 'none'}")
    return [name for name in known if name in wanted]


def _names(table: Table) -> list[str]:
    """Names by number, empty where there is a gap."""
    found: dict[int, str] = {}
    for row in table.rows:
        number = _number(table, row)
        if number in found:
            raise DataError(f"{table.where(row)} gives number {number} again; every label has its own")
        found[number] = row.cells[1] or str(number)
    return ["", *(found.get(number, "") for number in range(1, max(found, default=0) + 1))]


def _number(table: Table, row: Row) -> int:
    text = row.cells[0]
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and 1 <= int(text) <= LARGEST_LABEL):
        raise DataError(f'{table.where(row)} has the number "{shown(text)}"; expected one from 1 to {LARGEST_LABEL}')
    return int(text)


def _coverage(table: Table, row: Row) -> float:
    try:
        value = float(row.cells[1])
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise DataError(f'{table.where(row)} has the coverage "{shown(row.cells[1])}"; expected a number, 0 or more')
    return value
