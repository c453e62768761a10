"""FSS and RS of a study where heat maps decide what the networks see, and what the shape of the maps gives alone.

The student is shown what its distilled UniCAM map keeps of each image, the baseline what its residual map keeps.

Source: Adhane et al., WACV 2025, section 3.2, eqs. 7 to 9.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from kdlens.errors import DataError, LayerShapeError, StatisticsError
from kdlens.questions.context import Batch, Context, Subject, Trio
from kdlens.questions.pairing import pair_layers
from kdlens.questions.relevance.features import FEWEST_IMAGES, Distances, layer_distances
from kdlens.questions.relevance.kept import outlines, too_few, usable
from kdlens.questions.relevance.rows import Measured
from kdlens.questions.relevance.scores import Plan, Score, defined, relevance_score, similarity_score
from kdlens.questions.road import Perturbed, Recipe, road
from kdlens.questions.unicam.joint.study_maps import JointMaps
from kdlens.questions.unicam.joint.temperatures import Temperatures
from kdlens.questions.unicam.maps import Scene, unicam_from_activations
from kdlens.questions.unicam.view import View

Seen = Mapping[str, Distances | str]


@dataclass(frozen=True)
class Condition:
    """How images are conditioned on maps.

    Attributes:
        recipe: how what a map keeps is chosen, and what images look like afterwards.
        percentile: per cent of the pixels to keep.
        images: wanted size of UniCAM's comparison set.
        maps: the protocol that draws the maps.
    """

    recipe: Recipe
    percentile: float
    images: int
    maps: Literal["joint", "published"] = "joint"


class Left(NamedTuple):
    """How many images the maps of a student's seeds left of how many; or why there are no maps."""

    student: str
    used: tuple[int, ...]
    n: int
    problem: str = ""


def measure_conditioned(
    context: Context, condition: Condition, found: Measured, indices: Tensor, targets: Distances, plan: Plan
) -> list[Left]:
    """Add the scores of all students to `found`: `rs_distilled_conditioned`, and so on.

    A student and its baseline are judged on the images of which both maps keep something; other seeds may use others.
    """
    view = View(context, images=condition.images, layer="auto", features="pooled")
    batch = context.batch(indices)
    draw = _joint(view) if condition.maps == "joint" else _published(view, condition.recipe)
    told = []
    for student in dict.fromkeys(trio.student.name for trio in context.trios()):
        trios = [trio for trio in context.trios() if trio.student.name == student]
        context.progress(f"relevance: images conditioned on the maps of {student} and {trios[0].baseline.name}")
        try:
            pairs = [_perturbed(draw, trio, indices, batch, condition, context.seed) for trio in trios]
        except (LayerShapeError, StatisticsError, DataError) as error:
            told.append(Left(student, (), len(indices), str(error)))
            continue
        used = [usable(distilled.empty | residual.empty, condition.recipe) for distilled, residual in pairs]
        told.append(Left(student, tuple(len(images) for images in used), len(indices)))
        for trio, pair, images in zip(trios, pairs, used, strict=True):
            _Measure(context, trio, batch.images, pair, images, condition.recipe).add(found, targets, plan)
    return told


Draw = Callable[[Trio, Tensor, Tensor], tuple[Tensor, Tensor]]
"""Distilled and residual maps of a student and its baseline for images by index, with their labels."""


def _joint(view: View) -> Draw:
    maps = JointMaps(view, "gradients", Temperatures(view.context))

    def draw(trio: Trio, indices: Tensor, _labels: Tensor) -> tuple[Tensor, Tensor]:
        signed = maps.of_images(trio.student, trio.baseline, indices).signed
        return signed, -signed

    return draw


def _published(view: View, recipe: Recipe) -> Draw:
    def draw(trio: Trio, indices: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        scene = Scene(view.sight(trio.student, indices), view.sight(trio.baseline, indices), labels)
        reference = view.scene(trio.student, trio.baseline)
        both = ((scene, reference), (scene.swapped(), reference.swapped()))
        found = [unicam_from_activations(images, size=view.size, reference=compared) for images, compared in both]
        first, second = (cam.maps if recipe == "published" else cam.raw for cam in found)
        return first, second

    return draw


def _perturbed(
    draw: Draw, trio: Trio, indices: Tensor, batch: Batch, condition: Condition, seed: int
) -> tuple[Perturbed, Perturbed]:
    """What the distilled map keeps, and what the residual map keeps."""
    options: dict[str, Any] = {"percentile": condition.percentile, "recipe": condition.recipe, "seed": seed}
    distilled, residual = draw(trio, indices, batch.labels)
    return road(batch.images, distilled, **options), road(batch.images, residual, **options)


@dataclass(frozen=True)
class _Measure:
    """One student and its baseline on what their maps keep."""

    context: Context
    trio: Trio
    images: Tensor
    pair: tuple[Perturbed, Perturbed]
    used: Tensor
    recipe: Recipe

    def add(self, found: Measured, targets: Distances, plan: Plan) -> None:
        """Add the scores of every layer."""
        student, baseline = self.trio.student, self.trio.baseline
        (ours, our_shape), (theirs, their_shape) = (
            self._seen(subject, done) for subject, done in zip((student, baseline), self.pair, strict=True)
        )
        labels = targets[self.used][:, self.used]

        def rs(d: Distances | str) -> Score:
            return defined(lambda x: relevance_score(x, labels, plan), d)

        for mine, other in pair_layers(student.layers, baseline.layers):
            likeness = defined(lambda a, b: similarity_score(a, b, plan), ours[mine], theirs[other])
            for metric, model, compared_with, score in (
                ("fss_conditioned", student, baseline, likeness),
                ("rs_distilled_conditioned", student, baseline, rs(ours[mine])),
                ("rs_residual_conditioned", student, baseline, rs(theirs[other])),
                ("rs_mask_only", student, baseline, rs(our_shape[mine])),
                ("rs_mask_only", baseline, student, rs(their_shape[other])),
            ):
                key = (metric, model.name, compared_with.name, mine)
                found.add(key, student.seed, replace(score, images=self.used))

    def _seen(self, subject: Subject, done: Perturbed) -> tuple[Seen, Seen]:
        """Distances of the kept parts of images, and of the shapes of the maps alone."""
        if len(self.used) < FEWEST_IMAGES:
            why = dict.fromkeys(subject.layers, too_few(len(self.used), len(done.empty)))
            return why, why
        shapes = outlines(self.images, done, self.recipe)
        return self._distances(subject, done.images[self.used]), self._distances(subject, shapes[self.used])

    def _distances(self, subject: Subject, images: Tensor) -> Seen:
        def read(part: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
            return self.context.activations_of(subject, images[part], layers)

        return layer_distances(read, torch.arange(len(images)), subject.layers)
