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


def test_a_notebook_cell_may_run_twice():
    registry = Registry("thing", {})
    cell = """
@registry.register("mine")
class Mine:
    version = {}
"""
    for version in (1, 2):
        exec(cell.format(version), {"registry": registry, "__name__": "__main__"})
        assert registry["mine"].version == version


def test_another_thing_under_a_taken_name_is_refused():
    registry = Registry("thing", {"lazy": "no_such_module:x"})

    @registry.register("mine")
    class Mine: ...

    class Other: ...

    with pytest.raises(UnknownNameError, match=r"registered already, for .*Mine; choose another name"):
        registry.register("mine")(Other)
    with pytest.raises(UnknownNameError, match="for no_such_module:x"):  # said without importing it
        registry.register("lazy")(Other)
    registry.register("short")(lambda: 1)
    with pytest.raises(UnknownNameError, match="registered already"):
        registry.register("short")(lambda: 2)  # every lambda has the same name
    assert registry["mine"] is Mine
    assert registry["short"]() == 1


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
