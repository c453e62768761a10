import pytest

from kdlens.bench import METHODS


@pytest.fixture
def method(monkeypatch):
    """Adds a method for one test."""

    def add(name, function):
        monkeypatch.setitem(METHODS._loaded, name, function)
        return name

    return add


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KDLENS_CACHE", str(tmp_path / "cache"))
