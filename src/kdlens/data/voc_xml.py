"""The XML annotations of VOC, read without entities: an annotation has none, and they can be made into bombs."""

from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from kdlens.data.files import shown
from kdlens.errors import DataError, UnsafeFileError

_LARGEST = 4 * 1024**2  # bytes; real annotations have a few thousand
_DEEPEST = 32
_SIDES = ("xmin", "ymin", "xmax", "ymax")


class VocObject(NamedTuple):
    """An object: its class, its box (left, top, right, bottom) from 0 with the end excluded, and VOC's flag."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool = False

    @property
    def area(self) -> float:
        """Area of the box in pixels."""
        left, top, right, bottom = self.box
        return max(right - left, 0) * max(bottom - top, 0)


def read_objects(path: Path) -> list[VocObject]:
    """Read the objects of an annotation.

    Raises:
        DataError: it is missing, not XML, or an object has no class or no box.
        UnsafeFileError: it declares a document type or entities.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {shown(path)}: {error}") from error
    if len(content) > _LARGEST:
        raise DataError(f"{shown(path)} has {len(content)} bytes; an annotation has a few thousand")
    reader = _Reader()
    try:
        reader.parse(content)
        return [_object(found) for found in reader.objects]
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{shown(path)} {error}; it was not read") from None
    except (expat.ExpatError, ValueError, KeyError) as error:
        raise DataError(f"{shown(path)} is not an annotation of VOC: {error}") from error


class _Reader:
    """Collects the texts below each `annotation/object`; parts of an object (heads, hands) are left out."""

    def __init__(self) -> None:
        self.objects: list[dict[str, str]] = []
        self._path: list[str] = []

    def parse(self, content: bytes) -> None:
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.Parse(content, True)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > _DEEPEST:
            raise ValueError(f"elements are nested more than {_DEEPEST} deep")
        if self._path == ["annotation", "object"]:
            self.objects.append({})

    def _end(self, name: str) -> None:
        self._path.pop()

    def _text(self, text: str) -> None:
        if self._path[:2] == ["annotation", "object"] and "part" not in self._path:
            place = "/".join(self._path[2:])
            self.objects[-1][place] = self.objects[-1].get(place, "") + text

    def _refuse(self, *declaration: object) -> None:
        raise UnsafeFileError("declares a document type or entities, which annotations do not need")


def _object(found: dict[str, str]) -> VocObject:
    left, top, right, bottom = (float(found[f"bndbox/{side}"]) for side in _SIDES)
    return VocObject(
        found["name"].strip(), (left - 1, top - 1, right, bottom), found.get("difficult", "0").strip() == "1"
    )
