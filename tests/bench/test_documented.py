import doctest
from pathlib import Path

from kdlens.bench import METHODS

PAGE = Path(__file__).parents[2] / "docs" / "planted.md"


def test_the_page_does_what_it_says(monkeypatch):
    monkeypatch.setattr(METHODS, "_loaded", dict(METHODS._loaded))
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 8
    assert result.failed == 0
