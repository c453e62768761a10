"""Units of networks as strips of images: those that move a unit most, dark where it is not active."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from kdlens.answer import Answer, Row
from kdlens.report.blocks import Block
from kdlens.report.images import Picture, is_small, picture_uri
from kdlens.report.numbers import MISSING, known
from kdlens.report.setting import Setting

STORIES = {
    "unit_gained": "gained: the baseline has no unit for it",
    "unit_kept": "kept: both have units for it",
    "unit_lost": "lost: the student has no unit for it",
}
_DARK = 0.2
_SIDE = 96
_PICTURES = 1.5


@dataclass(frozen=True)
class Unit:
    """One unit: what it is called, what it detects and how well, and its pictures."""

    title: str
    detail: str
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Group:
    """Units of one network whose concepts have the same story."""

    name: str
    css: str
    story: str
    units: tuple[Unit, ...]


@dataclass(frozen=True, kw_only=True)
class Units(Block):
    """Strips of images, network by network.

    Attributes:
        groups: the units.
        size: width and height of the pictures.
        small: whether pixels stay visible.
    """

    template: ClassVar[str] = "units"

    groups: tuple[Group, ...] = ()
    size: tuple[int, int] = (1, 1)
    small: bool = False


def units_of(answer: Answer, setting: Setting, student: str, *, title: str, note: str, place: int) -> Units | None:
    """The units of a student and its baseline, from the arrays `unit.*`; `None` where there are none.

    Args:
        answer: with rows `unit_gained`, `unit_kept`, `unit_lost` that `unit.row` names.
        setting: gives roles and how much may be shown.
        student: whose.
        title: heading.
        note: a sentence below.
        place: of the student among all.
    """
    arrays = answer.arrays
    if not {"unit.row", "unit.image", "unit.images", "unit.active"} <= set(arrays) or not len(arrays["unit.image"]):
        return None
    rows = [answer.rows[int(index)] for index in arrays["unit.row"]]
    own = [i for i, row in enumerate(rows) if student in (row.model, row.compared_with)]
    most = max(2, int(_PICTURES * setting.detail.items / 4))
    groups = []
    for name in dict.fromkeys([student, *(rows[i].model for i in own)]):
        for metric, story in STORIES.items():
            chosen = [i for i in own if rows[i].model == name and rows[i].metric == metric][:most]
            if chosen:
                shown = tuple(_unit(i, rows[i], arrays, setting) for i in chosen)
                groups.append(Group(name, setting.role(name), story, shown))
    height, width = arrays["unit.image"].shape[1:3]
    small = is_small(arrays["unit.image"][0])
    if not groups:
        return None
    return Units(title=title, note=note, student=place, groups=tuple(groups), size=(width, height), small=small)


def darkened(image: Picture, active: UInt8[np.ndarray, "h w"]) -> Picture:
    """The image at a fifth of its brightness where a unit is not active.

    Example:
        >>> darkened(np.full((1, 2, 3), 100, np.uint8), np.array([[1, 0]], np.uint8))[0, :, 0].tolist()
        [100, 20]

    Source: NetDissect-Lite shows units in this way.
    """
    light = np.where(np.asarray(active) > 0, 1.0, _DARK)[..., None]
    return (np.asarray(image, np.float32) * light).round().astype(np.uint8)


def _unit(i: int, row: Row, arrays: Mapping[str, np.ndarray], setting: Setting) -> Unit:
    side, quality = min(_SIDE, setting.detail.side), setting.detail.quality
    pictures: Sequence[str] = [
        picture_uri(darkened(arrays["unit.image"][place], active), side=side, quality=quality)
        for place, active in zip(arrays["unit.images"][i].tolist(), arrays["unit.active"][i], strict=True)
        if place >= 0
    ]
    iou = f"IoU {row.value:.2f}".replace("0.", ".") if known(row.value) else f"IoU {MISSING}"
    return Unit(row.class_name, iou, tuple(pictures))
