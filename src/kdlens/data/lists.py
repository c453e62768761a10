"""Lists of a dataset: text files with one line an image."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kdlens.data.files import read_lines, shown
from kdlens.errors import DataError

T = TypeVar("T")


def read_list(path: Path, parse: Callable[[str], T | None], expected: str) -> list[T]:
    r"""Read a list line by line; blank lines and comments (`#`) are left out.

    Args:
        path: the file.
        parse: what a line says, or None for one it cannot read.
        expected: what a line should be, for the error.

    Raises:
        DataError: the file is missing or no text, or a line cannot be read; the message has the line.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     path = Path(place) / "list.txt"
        ...     _ = path.write_text("# sizes\n3\n4\n")
        ...     read_list(path, lambda line: int(line) if line.isdecimal() else None, "a number")
        [3, 4]
    """
    entries = []
    for line in read_lines(path):
        if line.startswith("#"):
            continue
        entry = parse(line)
        if entry is None:
            raise DataError(f'{shown(path)} has the line "{shown(line)}"; expected {expected}')
        entries.append(entry)
    return entries
