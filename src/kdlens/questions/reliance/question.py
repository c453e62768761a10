"""Does the network look at the object or at the background? Accuracy with backgrounds swapped and objects removed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kdlens.answer import Answer, Notes
from kdlens.questions.context import Context, Subject
from kdlens.questions.named import named
from kdlens.questions.options import at_least, one_of
from kdlens.questions.phrases import counted
from kdlens.questions.reliance.backgrounds import Fill, choose_donors, on_background, usable, without_object
from kdlens.questions.reliance.findings import say_all
from kdlens.questions.reliance.rows import Changed, add_rows

PORTION = 128
"""Pictures changed at once."""

HELD_BYTES = 1024**3
"""Up to this size all pictures are read and changed once and held; beyond it, again for every use."""

NO_MASKS = (
    'The question "reliance" needs object masks, and {data} has none, so nothing was measured. Choose data with masks '
    "(fashion-scenes, pets, cub or voc, or your own items as (image, label, mask)), or leave the question out."
)


@dataclass(frozen=True)
class Reliance:
    """Does the network look at the object or at the background?

    Attributes:
        images: class-balanced images to draw.
        fill: how the hole of a removed object is filled: `"tile"` or `"mean"`.
    """

    name: ClassVar[str] = "reliance"

    images: int = 1000
    fill: Fill = "tile"

    def __post_init__(self) -> None:
        at_least(self, images=2)
        one_of(self, fill=("tile", "mean"))

    def answer(self, context: Context) -> Answer:
        """Judge every network on the images as they are, with backgrounds of other images, and without their objects.

        Without masks, or with one class, the answer is one alert that says so.
        """
        indices = context.draw(self.images, self.name)
        answer = Answer(self.name, _notes(self))
        fit = _usable(context, indices)
        if fit is None:
            answer.say(NO_MASKS.format(data=f'the dataset "{context.data_name}"'), kind="alert")
            return answer
        drawn = len(indices)
        left_out = int((~fit).sum())
        indices = indices[fit]
        labels = context.labels[indices]
        if len(labels.unique()) < 2:
            answer.say(_nothing_to_swap(len(labels), drawn), kind="alert", tone="bad")
            return answer
        changed = _judge(context, indices, labels, fill=self.fill)
        add_rows(answer, context, changed, len(context.class_names))
        say_all(answer, [t.student.name for t in context.trios()], n=len(indices), left_out=left_out)
        return answer


def _nothing_to_swap(fit: int, drawn: int) -> str:
    """Why no background can come from another class."""
    if fit == 0:
        return (
            f"Of {counted(drawn, 'image')} none has both an object and enough background (5 % of the image): there is "
            "no background to swap with."
        )
    return f"{counted(fit, 'image')} of {drawn:,} can be used, of one class only: there is no background to swap with."


def _usable(context: Context, indices: Tensor) -> Tensor | None:
    found = []
    for part in indices.split(PORTION):
        masks = context.batch(part).masks
        if masks is None:
            return None
        found.append(usable(masks))
    return torch.cat(found)


def _judge(context: Context, indices: Tensor, labels: Tensor, *, fill: Fill) -> dict[Subject, Changed]:
    """Right and wrong answers of every network on every kind of picture."""
    others = choose_donors(labels, seed=context.seed)
    own = choose_donors(labels, seed=context.seed, same_class=True)
    kinds_of_picture = ("swapped", "same", "removed")
    given: dict[Subject, dict[str, list[Tensor]]] = {s: {k: [] for k in kinds_of_picture} for s in context.subjects}
    pictures = _Pictures(context, indices, fill)
    places = torch.arange(len(indices)).split(PORTION)
    for number, part in enumerate(places):
        context.progress(f"reliance: changing pictures, part {number + 1} of {len(places)}")
        kinds = {
            "swapped": pictures.swapped(part, others[part]),
            "same": pictures.swapped(part, torch.where(own < 0, others, own)[part]),
            "removed": pictures.removed(part),
        }
        for subject, answers in given.items():
            for kind, images in kinds.items():
                answers[kind].append(named(context.run(subject, images)))
    return {
        subject: _changed(named(context.logits(subject)[indices]), answers, labels, has_same=own >= 0)
        for subject, answers in given.items()
    }


def _changed(original: Tensor, answers: dict[str, list[Tensor]], labels: Tensor, *, has_same: Tensor) -> Changed:
    swapped, same, removed = (torch.cat(answers[kind]) for kind in ("swapped", "same", "removed"))
    return Changed(
        original=original == labels,
        swapped=swapped == labels,
        same=same == labels,
        removed=removed == labels,
        flipped=swapped != original,
        has_same=has_same,
    )


class _Pictures:
    """The drawn images and the same without their objects; held in memory where they fit, else read again."""

    def __init__(self, context: Context, indices: Tensor, fill: Fill) -> None:
        self._context, self._indices, self._fill = context, indices, fill
        self._held: tuple[Tensor, Tensor, Tensor] | None = None
        size = context.batch(indices[:1]).images.nbytes * len(indices)
        if 2 * size <= HELD_BYTES:
            parts = [self._read(part) for part in torch.arange(len(indices)).split(PORTION)]
            images, masks, removed = (torch.cat(part) for part in zip(*parts, strict=True))
            self._held = images, masks, removed

    def removed(self, places: Tensor) -> Tensor:
        """Images without their objects."""
        return self._held[2][places] if self._held else self._read(places)[2]

    def swapped(self, places: Tensor, donors: Tensor) -> Tensor:
        """Images on the backgrounds of others."""
        images, masks, _ = (part[places] for part in self._held) if self._held else self._read(places)
        return on_background(images, masks, self.removed(donors))

    def _read(self, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        images, _, masks = self._context.batch(self._indices[places])
        assert masks is not None  # noqa: S101 - checked by _usable
        return images, masks, without_object(images, masks, fill=self._fill)


def _notes(question: Reliance) -> Notes:
    hole: Sequence[str] = {
        "tile": "The hole is filled with tiles of the widest strip of background beside the object's box, so that no "
        "outline of the object is left; where the box touches all four sides, with the background's mean colour.",
        "mean": "The hole is filled with the mean colour of the image's background, which leaves the object's outline.",
    }[question.fill]
    return Notes(
        question="Does it look at the object or at the background?",
        method=(
            "Every object is cut out along its mask and put onto the background of a random image of another class, "
            "whose own object was removed; separately, every object is removed from its image. "
            f"{hole} Background reliance is the accuracy on the images as they are minus that with swapped "
            "backgrounds, in points, paired by image. Answers changed is the share of images, right or wrong, that are "
            "named differently once the background is swapped; it shows a reading of the background also where the "
            "background says nothing about the class. A background of another image of the same class shows what the "
            "cutting and pasting costs by itself; the background gap is the part that its class makes. Intervals: "
            "bootstrap over images with, for several seeds, Student's t interval over seeds added in quadrature."
        ),
        how_to_read=(
            "A reliance near 0 and few changed answers: the background hardly matters to the network. That it looks at "
            "the object follows only if it names the images right; one that gives every image the same answer changes "
            "none. A network that keeps its accuracy when the object is removed does not need it. Chance is guessing."
        ),
        limits=(
            "Pasted pictures look unlike those the networks were trained on, so a part of the loss may be the strange "
            "picture: compare with the same-class background. The masks must be right; what the object throws onto its "
            "background (shadows, reflections) goes with the background."
        ),
        sources=("Xiao et al., Noise or signal: the role of image backgrounds in object recognition, ICLR 2021",),
        options=asdict(question),
    )
