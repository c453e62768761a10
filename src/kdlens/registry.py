"""One registry class for everything that has a name: questions, losses, datasets, networks.

Built-in entries are written as `"module:attribute"` and imported when first asked for, so listing names costs nothing.
Third parties add entries with the decorator or through an entry point of their package.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from kdlens.errors import UnknownNameError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to objects, loaded when first used.

    Args:
        kind: what an entry is, for error messages ("question", "method", "dataset").
        builtin: name -> `"module:attribute"`.
        group: entry-point group through which other packages add entries.

    Example:
        >>> things = Registry("thing", {"path": "pathlib:Path"})
        >>> things["path"].__name__
        'Path'
        >>> things["pth"]
        Traceback (most recent call last):
        kdlens.errors.UnknownNameError: unknown thing "pth"; did you mean "path"? Known: path
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], group: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._where: dict[str, str] = dict(builtin)
        self._loaded: dict[str, T] = {}
        self._searched_entry_points = False

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds its object under `name`.

        The same class or function defined again, as when a notebook cell runs twice, replaces the earlier one; anything
        else under a taken name is refused.
        """

        def add(thing: T) -> T:
            if name in self and self._home(name) != _home_of(thing):
                raise UnknownNameError(
                    f'{self.kind} "{name}" is registered already, for {self._home(name)}; choose another name'
                )
            self._loaded[name] = thing
            return thing

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._loaded:
            if name not in self:
                known = self.names()
                raise UnknownNameError(
                    f'unknown {self.kind} "{name}"{did_you_mean(name, known) or "."} Known: {", ".join(known)}'
                )
            module, _, attribute = self._where[name].partition(":")
            self._loaded[name] = getattr(importlib.import_module(module), attribute)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        self._search_entry_points()
        return name in self._loaded or name in self._where

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def names(self) -> list[str]:
        """All names, sorted."""
        self._search_entry_points()
        return sorted({*self._where, *self._loaded})

    def items(self) -> list[tuple[str, Any]]:
        """All (name, object) pairs, each loaded."""
        return [(name, self[name]) for name in self.names()]

    def _home(self, name: str) -> str:
        """Where a known name's object is defined; what is not loaded yet stays so."""
        if name in self._loaded:
            return _home_of(self._loaded[name]) or "an object"
        return self._where[name]

    def _search_entry_points(self) -> None:
        if self.group and not self._searched_entry_points:
            for point in entry_points(group=self.group):
                self._where.setdefault(point.name, point.value)  # a plug-in never replaces a built-in
        self._searched_entry_points = True


def _home_of(thing: object) -> str:
    """`"module:name"` of a class or function; empty for what has no name of its own, such as a lambda."""
    name = getattr(thing, "__qualname__", "")
    return "" if not name or name.endswith("<lambda>") else f"{thing.__module__}:{name}"
