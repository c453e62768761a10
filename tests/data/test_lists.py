import pytest

from kdlens.data.lists import read_list
from kdlens.errors import DataError


def number(line):
    return int(line) if line.isdecimal() else None


def test_lines_are_read_without_blanks_and_comments(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# name\n3\n\n0\r\n4")
    assert read_list(path, number, "a number") == [3, 0, 4]


def test_the_line_that_cannot_be_read_is_shown(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("3\nfour\x07\n")
    with pytest.raises(DataError, match=r'list\.txt has the line "four\\x07"; expected a number'):
        read_list(path, number, "a number")
    with pytest.raises(DataError, match="cannot read"):
        read_list(tmp_path / "none.txt", number, "a number")
