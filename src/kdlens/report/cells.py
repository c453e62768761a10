"""Knowledge points on images: the cells that are kept, on the object and off it, at one moment or at several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8
from markupsafe import Markup

from kdlens.answer import Answer
from kdlens.report.blocks import Block
from kdlens.report.images import dimmed_uri, is_small, outline, picture_uri
from kdlens.report.numbers import count
from kdlens.report.setting import Setting

_ROLES = ("teacher", "baseline", "student")
"""In the order in which they stand."""


@dataclass(frozen=True)
class Frame:
    """The cells that one network keeps of one image at one moment.

    Attributes:
        on: path of the points on the object, in cells.
        off: path of those off it.
        caption: how many there are.
        moment: when, e.g. `"epoch 5"`; empty where there is one moment only.
    """

    on: str
    off: str
    caption: str
    moment: str = ""


@dataclass(frozen=True)
class Watched:
    """One network beside an image: its frames, or why there are none."""

    name: str
    css: str
    frames: tuple[Frame, ...]
    student: int | None = None
    rejected: bool = False


@dataclass(frozen=True)
class CellItem:
    """One image with the cells that its networks keep."""

    number: int
    place: int
    label: str
    picture: str
    dimmed: str
    border: str
    size: tuple[int, int]
    grid: tuple[int, int]
    small: bool
    watched: tuple[Watched, ...]


@dataclass(frozen=True, kw_only=True)
class Cells(Block):
    """Images with the cells that networks keep; with several moments a slider goes through them.

    Attributes:
        name: unique in the page.
        items: the images.
        moments: names of the moments; one or none for a still.
    """

    template: ClassVar[str] = "cells"

    name: str = "cells"
    items: tuple[CellItem, ...] = ()
    moments: tuple[str, ...] = ()

    @property
    def style(self) -> Markup:
        """Style rules that put the dimmed image under its cells: once an image, however many frames there are."""
        rule = Markup(".{}-{}{{background-image:url({});aspect-ratio:{}/{}}}\n")
        return Markup("").join(rule.format(self.name, item.place, item.dimmed, *item.size) for item in self.items)


def cells_of(answer: Answer, setting: Setting, *, title: str, note: str) -> Cells | None:
    """The images of an answer with the arrays `image`, `foreground` and `kept.NAME`; `None` where there are none.

    Args:
        answer: arrays `kept.NAME` are `(k, gh, gw)`, or `(m, k, gh, gw)` with m moments and an array `epochs` (or
            `checkpoints`).
        setting: gives names, roles and how much may be shown.
        title: heading.
        note: a sentence below.
    """
    arrays, students = answer.arrays, setting.students(answer)
    if not {"image", "foreground"} <= set(arrays) or len(arrays["image"]) == 0:
        return None
    names = [name.removeprefix("kept.") for name in arrays if name.startswith("kept.")]
    names.sort(key=lambda name: (_ROLES.index(setting.role(name)), students.index(name) if name in students else 0))
    if not names:
        return None
    unit = unit_of(answer)
    moments = tuple(f"{unit} {number}" for number in arrays[f"{unit}s"]) if unit else ()
    name = f"{setting.anchors.get(answer.question, answer.question)}-cells"
    items = [
        _item(i, arrays, setting, tuple(_watched(i, arrays, name, setting, students, moments) for name in names))
        for i in range(min(len(arrays["image"]), setting.detail.items))
    ]
    return Cells(title=title, note=note, name=name, items=tuple(items), moments=moments)


def unit_of(answer: Answer) -> str:
    """What the moments of an answer are counted in: `"epoch"` or `"checkpoint"`; empty where there are none."""
    return next((unit for unit in ("epoch", "checkpoint") if f"{unit}s" in answer.arrays), "")


def _item(i: int, arrays: Mapping[str, np.ndarray], setting: Setting, watched: tuple[Watched, ...]) -> CellItem:
    image, detail, mask = arrays["image"][i], setting.detail, arrays.get("mask")
    return CellItem(
        number=int(arrays["index"][i]) if "index" in arrays else i,
        place=i,
        label=setting.class_name(int(arrays["label"][i])) if "label" in arrays else "",
        picture=picture_uri(image, side=detail.side, quality=detail.quality),
        dimmed=dimmed_uri(image, side=detail.side, quality=detail.quality - 12),
        border=outline(mask[i]) if mask is not None and np.any(mask[i]) else "",
        size=(image.shape[1], image.shape[0]),
        grid=(arrays["foreground"].shape[2], arrays["foreground"].shape[1]),
        small=is_small(image),
        watched=watched,
    )


def _watched(
    i: int,
    arrays: Mapping[str, np.ndarray],
    name: str,
    setting: Setting,
    students: Sequence[str],
    moments: Sequence[str],
) -> Watched:
    role = setting.role(name)
    place = students.index(name) if name in students else None
    if f"counted.{name}" in arrays and not arrays[f"counted.{name}"][i]:
        return Watched(name, role, (), place, rejected=True)
    kept, foreground = arrays[f"kept.{name}"], arrays["foreground"][i] > 0
    kept = kept if kept.ndim == 4 else kept[None]
    frames = [_frame(of_moment[i] > 0, foreground, moment) for of_moment, moment in _named(kept, moments)]
    return Watched(name, role, tuple(frames), place)


def _named(kept: np.ndarray, moments: Sequence[str]) -> list[tuple[np.ndarray, str]]:
    names = list(moments) if len(moments) == len(kept) else [""] * len(kept)
    return list(zip(kept, names, strict=True))


def _frame(kept: np.ndarray, foreground: np.ndarray, moment: str) -> Frame:
    on, off = kept & foreground, kept & ~foreground
    caption = f"{count(int(on.sum()), 'point')} on the object, {int(off.sum())} off it"
    return Frame(squares(on.astype(np.uint8)), diamonds(off.astype(np.uint8)), caption, moment)


def squares(cells: UInt8[np.ndarray, "gh gw"]) -> str:
    """Path data of one square for every cell, in units of cells.

    Example:
        >>> squares(np.array([[0, 1], [0, 0]], np.uint8))
        'M1,0h1v1h-1z'
    """
    return "".join(f"M{x},{y}h1v1h-1z" for y, x in np.argwhere(cells).tolist())


def diamonds(cells: UInt8[np.ndarray, "gh gw"]) -> str:
    """The same with diamonds, which are told from squares without colours, too.

    Example:
        >>> diamonds(np.array([[0, 1], [0, 0]], np.uint8))
        'M1.5,0l.5,.5l-.5,.5l-.5-.5z'
    """
    return "".join(f"M{x}.5,{y}l.5,.5l-.5,.5l-.5-.5z" for y, x in np.argwhere(cells).tolist())
