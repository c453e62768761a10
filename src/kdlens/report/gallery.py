"""The gallery: every image beside the maps of its networks, all on one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from markupsafe import Markup

from kdlens.answer import Answer
from kdlens.report.blocks import Block
from kdlens.report.images import colour_bar_uri, dimmed_uri, is_small, map_uri, outline, picture_uri
from kdlens.report.numbers import MINUS, known, number
from kdlens.report.setting import Setting

KINDS = ("teacher", "student", "distilled", "residual", "baseline")
WORDS = {
    "teacher": "what the teacher tells the classes by",
    "student": "what the student tells the classes by",
    "distilled": "what the student has beyond the baseline",
    "residual": "what the baseline has beyond the student",
    "baseline": "what the baseline tells the classes by",
}


@dataclass(frozen=True)
class Column:
    """One column of maps: teacher and baseline once, the others once a student."""

    kind: str
    array: str
    title: str
    student: int | None = None
    correct: str = ""


@dataclass(frozen=True)
class Panel:
    """One map on one image: the picture of its positive and negative part, and what a screen reader says."""

    column: Column
    alt: str
    positive: str = ""
    negative: str = ""
    right: bool | None = None
    empty: str = ""


@dataclass(frozen=True)
class Gain:
    """Change of the true class's probability, student minus baseline."""

    student: int
    value: float | None
    text: str


@dataclass(frozen=True)
class Item:
    """One row of the gallery."""

    number: int
    place: int
    label: str
    picture: str
    dimmed: str
    panels: tuple[Panel, ...]
    gains: tuple[Gain, ...]
    border: str
    size: tuple[int, int]
    small: bool


@dataclass(frozen=True, kw_only=True)
class Gallery(Block):
    """The gallery as a table of pictures."""

    template: ClassVar[str] = "gallery"

    name: str = "gallery"
    columns: tuple[Column, ...] = ()
    items: tuple[Item, ...] = ()
    students: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    scale: str = ""
    half: str = ""
    bar: str = ""
    cold_bar: str = ""

    @property
    def sortable(self) -> bool:
        """Whether any image has a gain to sort by."""
        return any(known(gain.value) for item in self.items for gain in item.gains)

    @property
    def reading(self) -> list[tuple[str, str, str]]:
        """Kind, title and meaning of the columns, once each."""
        return list(dict.fromkeys((column.kind, column.title, WORDS[column.kind]) for column in self.columns))

    @property
    def style(self) -> Markup:
        """Style rules that put the dimmed image under the maps: once an image, however many maps there are."""
        rule = Markup(".{}-{}{{background-image:url({});aspect-ratio:{}/{}}}\n")
        return Markup("").join(rule.format(self.name, item.place, item.dimmed, *item.size) for item in self.items)


def gallery_of(answer: Answer, setting: Setting) -> Gallery | None:
    """The gallery of an answer with the arrays `image` and `map.*`; `None` where there is nothing to show."""
    arrays = answer.arrays
    images = arrays.get("image")
    if images is None or images.ndim != 4 or len(images) == 0:
        return None
    students = students_in(arrays, setting)
    columns = _columns(arrays, students)
    if not columns:
        return None
    scale = scale_of(arrays, [column.array for column in columns])
    items = [_item(i, arrays, columns, students, scale, setting) for i in range(min(len(images), setting.detail.items))]
    classes = tuple(sorted({item.label for item in items}))
    negative = any(panel.negative for item in items for panel in item.panels)
    return Gallery(
        name=f"{setting.anchors.get(answer.question, answer.question)}-image",
        columns=columns,
        items=tuple(items),
        students=tuple(students),
        classes=classes,
        scale=number(scale),
        half=number(scale / 2),
        bar=colour_bar_uri(),
        cold_bar=colour_bar_uri(negative=True) if negative else "",
    )


def students_in(arrays: Mapping[str, np.ndarray], setting: Setting) -> list[str]:
    """Students with maps of their own, in the order of the study."""
    kinds = ("map.student.", "map.distilled.", "map.residual.")
    names = dict.fromkeys(key.removeprefix(kind) for key in arrays for kind in kinds if key.startswith(kind))
    order = [card.name for card in setting.meta.models]
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _columns(arrays: Mapping[str, np.ndarray], students: Sequence[str]) -> tuple[Column, ...]:
    found = []
    for kind in KINDS:
        if kind in ("teacher", "baseline"):
            found.append(Column(kind, f"map.{kind}", kind.capitalize(), correct=f"correct.{kind}"))
        for place, name in enumerate(students if kind not in ("teacher", "baseline") else ()):
            correct = f"correct.{name}" if kind == "student" else ""
            found.append(Column(kind, f"map.{kind}.{name}", kind.capitalize(), place, correct))
    return tuple(column for column in found if column.array in arrays)


def scale_of(arrays: Mapping[str, np.ndarray], maps: Sequence[str]) -> float:
    """The value of full strength: the answer's own, or what leaves one positive value in 200 beyond it."""
    given = arrays.get("scale")
    if given is not None and np.size(given) == 1 and np.isfinite(given).all() and float(np.ravel(given)[0]) > 0:
        return float(np.ravel(given)[0])
    values = np.concatenate([np.ravel(arrays[name]) for name in maps])
    positive = values[np.isfinite(values) & (values > 0)]
    return float(np.percentile(positive, 99.5)) if len(positive) else float("nan")


def _item(
    i: int,
    arrays: Mapping[str, np.ndarray],
    columns: Sequence[Column],
    students: Sequence[str],
    scale: float,
    setting: Setting,
) -> Item:
    image, detail = arrays["image"][i], setting.detail
    shown = int(arrays["index"][i]) if "index" in arrays else i
    label = setting.class_name(int(arrays["label"][i])) if "label" in arrays else ""
    mask = arrays.get("mask")
    return Item(
        number=shown,
        place=i,
        label=label,
        picture=picture_uri(image, side=detail.side, quality=detail.quality),
        dimmed=dimmed_uri(image, side=detail.side, quality=detail.quality - 12),
        panels=tuple(_panel(i, arrays, column, students, scale, shown, setting) for column in columns),
        gains=tuple(_gain(i, arrays, place, name) for place, name in enumerate(students) if f"gain.{name}" in arrays),
        border=outline(mask[i]) if mask is not None and np.any(mask[i]) else "",
        size=(image.shape[1], image.shape[0]),
        small=is_small(image),
    )


def _panel(
    i: int,
    arrays: Mapping[str, np.ndarray],
    column: Column,
    students: Sequence[str],
    scale: float,
    shown: int,
    setting: Setting,
) -> Panel:
    values = arrays[column.array][i]
    whose = f" of {students[column.student]}" if column.student is not None else ""
    name = f"{column.title} map{whose}, image {shown}"
    positive = map_uri(values, scale)
    negative = map_uri(values, scale, negative=True) if setting.detail.negative else ""
    empty = "" if positive else "undefined" if not np.isfinite(values).all() else "nothing above zero worth seeing"
    correct = arrays.get(column.correct) if column.correct else None
    right = bool(correct[i]) if correct is not None else None
    alt = name + (f": {empty}" if empty else "") + ("" if right is None else ", right" if right else ", wrong")
    return Panel(column, alt, positive, negative, right, empty)


def _gain(i: int, arrays: Mapping[str, np.ndarray], place: int, name: str) -> Gain:
    value = float(arrays[f"gain.{name}"][i])
    rounded = round(value, 2) + 0.0 if known(value) else value  # + 0.0 turns -0.0 into 0.0
    text = f"{rounded:{'+' if rounded else ''}.2f}".replace("-", MINUS) if known(value) else number(None)
    return Gain(place, value if known(value) else None, text)
