"""What the report shows of single units: the images that move them most, dark where they are not active."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kdlens.answer import Answer, Row
from kdlens.data.concepts.annotated import ConceptData
from kdlens.errors import DataError
from kdlens.questions.context import Context, Subject, Trio, by_student
from kdlens.questions.dissection.annotated import Scale, reader_of
from kdlens.questions.dissection.changes import detectors_of, title
from kdlens.questions.dissection.enlarge import enlarge
from kdlens.questions.dissection.result import Dissection
from kdlens.questions.dissection.rows import Found, paired

SIDE = 112
"""Largest side of a picture."""


class Shown(NamedTuple):
    """A unit to show, and what became of its concept."""

    subject: Subject
    layer: str
    unit: int
    story: str


def add_pictures(
    answer: Answer,
    context: Context,
    found: Found,
    concepts: ConceptData,
    scale: Scale,
    threshold: float,
    most: int,
) -> None:
    """Add units of the first seed of every student and its baseline at the last layer, with images.

    Rows `unit_gained`, `unit_kept`, `unit_lost` (IoU; the unit and its concept as class). Arrays: `unit.row` `(k,)`
    into the table, `unit.images` `(k, e)` into `unit.image` `(m, h, w, 3)`, -1 where a unit has fewer, and
    `unit.active` `(k, e, h, w)`, 1 where the unit is.

    Args:
        answer: gets the rows and arrays.
        context: the study.
        found: dissections.
        concepts: the annotated images.
        scale: how they become inputs.
        threshold: IoU.
        most: units of a network.
    """
    shown: list[tuple[Shown, str]] = []
    for trios in by_student(context):
        shown += [(one, trios[0].student.name) for one in choose(trios[:1], found, threshold, most)]
    images, places = _pictures([found[one.subject, one.layer].examples[one.unit] for one, _ in shown], concepts)
    if not shown or not len(images):
        return
    context.progress("dissection: reading the images that move units most")
    rows = [answer.add(_row(one, student, found[one.subject, one.layer])) for one, student in shown]
    answer.arrays |= {
        "unit.row": np.array(rows),
        "unit.images": places.numpy(),
        "unit.image": _small(images, "area")
        .clamp(0, 1)
        .mul(255)
        .round()
        .byte()
        .permute(0, 2, 3, 1)
        .contiguous()
        .numpy(),
        "unit.active": _active(context, [one for one, _ in shown], found, images, places, scale).numpy(),
    }


def choose(trios: Sequence[Trio], found: Found, threshold: float, most: int) -> list[Shown]:
    """The best unit of every concept: of gained ones the student's, of lost the baseline's, of kept both.

    Half of the units are of gained concepts (of lost ones, for the baseline) where there are that many; best first.
    """
    layers = list(paired(trios, found))
    if not layers:
        return []
    mine, other, [(student, baseline)] = layers[-1]
    sides = ((trios[0].student, mine, student, baseline), (trios[0].baseline, other, baseline, student))
    chosen = []
    for (subject, layer, own, its), new in zip(sides, ("gained", "lost"), strict=True):
        units = _best_units(own, threshold)
        theirs = detectors_of(its, threshold)
        fresh = [unit for label, unit in units.items() if not theirs[label]]
        kept = [unit for label, unit in units.items() if theirs[label]]
        room = max(most // 2, most - len(kept))
        chosen += [Shown(subject, layer, unit, new) for unit in fresh[:room]]
        chosen += [Shown(subject, layer, unit, "kept") for unit in kept[: most - min(room, len(fresh))]]
    return chosen


def _best_units(found: Dissection, threshold: float) -> dict[int, int]:
    """Label -> the unit that detects it best; best first."""
    best: dict[int, int] = {}
    for unit in found.best.iou.argsort(descending=True, stable=True).tolist():
        if found.best.iou[unit] >= threshold and found.best.category[unit] >= 0:
            best.setdefault(int(found.best.label[unit]), unit)
    return best


def _row(shown: Shown, student: str, found: Dissection) -> Row:
    label, unit = int(found.best.label[shown.unit]), shown.unit
    p = float(found.p[unit]) if found.dealt.groups else None
    return Row(
        f"unit_{shown.story}",
        float(found.best.iou[unit]),
        model=shown.subject.name,
        compared_with=student if shown.subject.role == "baseline" else "",
        seed=shown.subject.seed,
        layer=shown.layer,
        class_name=f"unit {unit}: {title(found.vocabulary, label)}",
        n=found.images,
        p=p,
        unit="IoU",
    )


def _pictures(examples: Sequence[Tensor], concepts: ConceptData) -> tuple[Tensor, Tensor]:
    """The images of the most common size among all examples, and the place there of every unit's; -1 for others."""
    wanted = dict.fromkeys(int(index) for unit in examples for index in unit)
    images = {index: image for index in wanted if (image := _image(concepts, index)) is not None}
    if not images:
        return torch.zeros(0), torch.zeros(0)
    shape = Counter(tuple(image.shape) for image in images.values()).most_common(1)[0][0]
    kept = [index for index, image in images.items() if tuple(image.shape) == shape]
    place = {index: at for at, index in enumerate(kept)}
    places = [[place.get(int(index), -1) for index in unit] for unit in examples]
    return torch.stack([images[index] for index in kept]), torch.tensor(places)


def _image(concepts: ConceptData, index: int) -> Tensor | None:
    try:
        return concepts.image(index)
    except DataError:  # told with the counts
        return None


def _active(
    context: Context, shown: Sequence[Shown], found: Found, images: Tensor, places: Tensor, scale: Scale
) -> Tensor:
    """1 where a unit exceeds its threshold, `(k, e, h, w)` at the size of the pictures."""
    size = tuple(_small(images[:1], "area").shape[2:])
    active = torch.zeros(*places.shape, *size, dtype=torch.uint8)
    layers: Mapping[Subject, str] = {one.subject: one.layer for one in shown}
    for subject, layer in layers.items():
        units = [at for at, one in enumerate(shown) if one.subject is subject]
        own = places[units].unique()
        own = own[own >= 0]
        if not len(own):
            continue
        maps = reader_of(context, subject, (layer,), scale)(images[own])[layer].cpu()
        for at in units:
            for slot, place in enumerate(places[at].tolist()):
                if place >= 0:
                    surface = enlarge(maps[own == place][:, shown[at].unit], (images.shape[2], images.shape[3]))
                    above = surface.double() > found[subject, layer].thresholds[shown[at].unit]
                    active[at, slot] = (_small(above[:, None].float(), "area")[0, 0] >= 0.5).byte()
    return active


def _small(images: Tensor, mode: str) -> Tensor:
    """At most `SIDE` pixels a side, three channels where there are others than one mask."""
    height, width = images.shape[2:]
    share = SIDE / max(height, width)
    if share < 1:
        images = F.interpolate(images, (max(1, round(height * share)), max(1, round(width * share))), mode=mode)
    return images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
