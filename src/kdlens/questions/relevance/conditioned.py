"""FSS and RS of a study where heat maps decide what the networks see, and what the shape of the maps gives alone.

The student is shown what its distilled UniCAM map keeps of each image, the baseline what its residual map keeps.

Source: Adhane et al., WACV 2025, section 3.2, eqs. 7 to 9.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from kdlens.errors import LayerShapeError, StatisticsError
from kdlens.questions.context import Batch, Context, Subject, Trio
from kdlens.questions.pairing import pair_layers
from kdlens.questions.relevance.features import FEWEST_IMAGES, Distances, layer_distances
from kdlens.questions.relevance.kept import outlines, too_few, usable
from kdlens.questions.relevance.rows import Measured
from kdlens.questions.relevance.scores import Plan, Score, defined, relevance_score, similarity_score
from kdlens.questions.road import Perturbed, Recipe, road
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
    """

    recipe: Recipe
    percentile: float
    images: int


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
    told = []
    for student in dict.fromkeys(trio.student.name for trio in context.trios()):
        trios = [trio for trio in context.trios() if trio.student.name == student]
        context.progress(f"relevance: images conditioned on the maps of {student} and {trios[0].baseline.name}")
        try:
            pairs = [_perturbed(view, trio, indices, batch, condition) for trio in trios]
        except (LayerShapeError, StatisticsError) as error:
            told.append(Left(student, (), len(indices), str(error)))
            continue
        used = [usable(distilled.empty | residual.empty, condition.recipe) for distilled, residual in pairs]
        told.append(Left(student, tuple(len(images) for images in used), len(indices)))
        for trio, pair, images in zip(trios, pairs, used, strict=True):
            _Measure(context, trio, batch.images, pair, images, condition.recipe).add(found, targets, plan)
    return told


def _perturbed(
    view: View, trio: Trio, indices: Tensor, batch: Batch, condition: Condition
) -> tuple[Perturbed, Perturbed]:
    """What the distilled map keeps, and what the residual map keeps."""
    student, baseline = view.sight(trio.student, indices), view.sight(trio.baseline, indices)
    scene, reference = Scene(student, baseline, batch.labels), view.scene(trio.student, trio.baseline)

    def kept(images: Scene, compared: Scene) -> Perturbed:
        cam = unicam_from_activations(images, size=view.size, reference=compared)
        maps = cam.maps if condition.recipe == "published" else cam.raw
        seed = view.context.seed
        return road(batch.images, maps, percentile=condition.percentile, recipe=condition.recipe, seed=seed)

    return kept(scene, reference), kept(scene.swapped(), reference.swapped())


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
