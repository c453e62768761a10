import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "own-data.md"


def test_the_page_does_what_it_says():
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 15
    assert result.failed == 0
