import pytest

from kdlens.errors import UnknownNameError
from kdlens.registry import Registry


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known():
    registry = Registry("method", {"labels": "builtins:int", "label-smoothing": "builtins:str"})
    with pytest.raises(UnknownNameError) as caught:
        registry["label"]
    assert str(caught.value) == ('unknown method "label"; did you mean "labels"? Known: label-smoothing, labels')


def test_registered_by_decorator_and_never_replaced():
    registry = Registry("thing", {"a": "builtins:int"})

    @registry.register("b")
    class B: ...

    assert registry["b"] is B
    assert registry.names() == ["a", "b"]
    with pytest.raises(UnknownNameError, match="registered already"):
        registry.register("a")(B)


def test_listing_names_imports_nothing():
    registry = Registry("thing", {"gone": "no_such_module:x"})
    assert registry.names() == ["gone"]
    with pytest.raises(ModuleNotFoundError):
        registry["gone"]


def test_entry_points_add_but_never_replace(monkeypatch):
    from importlib.metadata import EntryPoint

    points = [EntryPoint("mine", "builtins:dict", "kdlens.x"), EntryPoint("a", "builtins:list", "kdlens.x")]
    monkeypatch.setattr("kdlens.registry.entry_points", lambda group: [p for p in points if p.group == group])
    registry = Registry("thing", {"a": "builtins:int"}, group="kdlens.x")
    assert registry["mine"] is dict
    assert registry["a"] is int
