"""Is it like the teacher, and is it about the task? FSS and RS of a whole study, layer by layer."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from kdlens.answer import Answer, Notes
from kdlens.data.embeddings import label_embeddings
from kdlens.errors import ConfigError
from kdlens.questions.context import Context, Subject
from kdlens.questions.options import at_least, one_of
from kdlens.questions.pairing import foreign_pairs
from kdlens.questions.relevance.conditioned import Condition, Left, measure_conditioned
from kdlens.questions.relevance.conditioned_findings import say_conditioned
from kdlens.questions.relevance.features import Distances, label_distances, layer_distances
from kdlens.questions.relevance.findings import say_all
from kdlens.questions.relevance.rows import Measured, add_rows, measure
from kdlens.questions.relevance.scores import Aggregate, Plan
from kdlens.questions.road import Recipe


@dataclass(frozen=True)
class RelevanceQuestion:
    """Is the student like the teacher, and are its features about the task?

    Attributes:
        embeddings: label embeddings: `"one-hot"`, `"minilm"`, `"clip"`, or a file.
        images: class-balanced images to draw.
        aggregate: `"pooled"`, one statistic on all of them, or `"mean"` over mini-batches, as in the paper.
        mini_batch: images a mini-batch for `"mean"`.
        statistic: `"unbiased"`, or `"published"`, the plain statistic in [0, 1] for FSS and layer-specific RS.
        partial: partial instead of semi-partial correlation for distilled and residual RS.
        permutations: permutations of the null distributions.
        conditioned: `"clean"` or `"published"` adds scores on images of which only what the UniCAM maps call important
            is kept, see `kdlens.questions.road`; `"none"` leaves them out.
        percentile: per cent of the pixels kept there.
        maps: the protocol of those maps, `"joint"` or `"published"`; see `kdlens.unicam`.
    """

    name: ClassVar[str] = "relevance"

    embeddings: str = "one-hot"
    images: int = 256
    aggregate: Aggregate = "pooled"
    mini_batch: int = 32
    statistic: Literal["unbiased", "published"] = "unbiased"
    partial: bool = False
    permutations: int = 500
    conditioned: Literal["none", "clean", "published"] = "none"
    percentile: float = 50.0
    maps: Literal["joint", "published"] = "joint"

    def __post_init__(self) -> None:
        one_of(self, statistic=("unbiased", "published"))
        at_least(self, images=4)
        one_of(self, conditioned=("none", "clean", "published"), maps=("joint", "published"))
        if not 0 < self.percentile <= 100:
            raise ConfigError(f"percentile is the share of pixels kept, above 0 and up to 100, got {self.percentile}")
        Plan(self.aggregate, self.mini_batch, permutations=self.permutations)  # refuses what is out of range

    def answer(self, context: Context) -> Answer:
        """Score every network, and every student against its baseline and the teacher, at every layer.

        Raises:
            StatisticsError: fewer than 4 images, or all of one class.
            DataError: label embeddings that do not fit the classes.
        """
        indices = context.draw(self.images, self.name)
        targets = label_distances(
            context.labels[indices], label_embeddings(list(context.class_names), self.embeddings).float()
        )
        seen = {subject: _seen(context, subject, indices) for subject in context.subjects}
        context.progress("relevance: permuting labels and pairs")
        plan = Plan(self.aggregate, self.mini_batch, True, self.permutations, context.seed)
        plain = Plan(self.aggregate, self.mini_batch, self.statistic == "unbiased", self.permutations, context.seed)
        measured: Measured = measure(context, seen, targets, plan=plan, plain=plain, partial=self.partial)
        left = [] if self.conditioned == "none" else self._conditioned(context, measured, indices, targets, plain)
        answer = Answer(self.name, _notes(self, len(indices), foreign_pairs(context, teacher=True)))
        add_rows(answer, measured)
        say_all(answer, measured, targets)
        say_conditioned(answer, measured, left, percentile=self.percentile)
        return answer

    def _conditioned(
        self, context: Context, measured: Measured, indices: Tensor, targets: Distances, plan: Plan
    ) -> list[Left]:
        recipe: Recipe = "published" if self.conditioned == "published" else "clean"
        condition = Condition(recipe, self.percentile, self.images, self.maps)
        return measure_conditioned(context, condition, measured, indices, targets, plan)


def _seen(context: Context, subject: Subject, indices: Tensor) -> dict[str, Distances | str]:
    read: Callable[[Tensor, Sequence[str]], dict[str, Tensor]] = lambda part, layers: context.activations(  # noqa: E731
        subject, torch.as_tensor(part), layers
    )
    return layer_distances(read, indices, subject.layers)


def _notes(question: RelevanceQuestion, n: int, pairs: dict[str, str]) -> Notes:
    how = (
        f"one statistic on all {n} images"
        if question.aggregate == "pooled"
        else f"the mean over mini-batches of about {question.mini_batch} of {n} images"
    )
    kind = "partial" if question.partial else "semi-partial"
    return Notes(
        question="Is the student like the teacher, and are its features about the task?",
        method=(
            "Every layer arranges the images: the features of an image are its flattened activation, and their "
            "Euclidean distances form a matrix. FSS is the squared, bias-corrected distance correlation of two "
            "networks' matrices; RS that of a network's matrix and the distances between label embeddings "
            f"({question.embeddings}). Distilled RS takes the baseline's component out of the student's matrix first "
            f"({kind} correlation), residual RS the student's out of the baseline's. Each is {how}. Intervals are "
            "jackknife intervals over images, to which the spread over training seeds is added in quadrature; the "
            "bootstrap would repeat images and be biased upwards. Chance and p come from permuting the images of one "
            "side; p values of differences are from the paired jackknife. fss_gain compares a student's likeness to "
            "the teacher with the baseline's; rs_difference is distilled minus residual RS."
            + (
                " FSS and layer-specific RS are the plain statistic of the published code here."
                if question.statistic == "published"
                else ""
            )
            + (_CONDITIONED if question.conditioned != "none" else "")
        ),
        how_to_read=(
            "FSS 1: the same arrangement of the images up to scale; 0: unrelated, on average; slightly negative values "
            "are chance. RS: how far the arrangement follows the classes. Distilled above residual RS: what the "
            "student has and the baseline lacks is more about the task than what it dropped."
        ),
        limits=(
            "RS depends on the images, the number of classes and the embedding: compare within this table only. A "
            "large RS does not say that the network is right. Distilled and residual RS are correlations of a "
            "remainder, which may be tiny: look at the unique fraction of the UniCAM question beside it. Layers of "
            "different architectures are paired by their place from first to last; the pairs then stand "
            "among the options." + (_LEAKS if question.conditioned != "none" else "")
        ),
        sources=(
            "Adhane et al., On explaining knowledge distillation, WACV 2025, eqs. 8 and 9",
            "Szekely and Rizzo, Partial distance correlation, Annals of Statistics 42 (2014)",
            "Zhen et al., On the versatile uses of partial distance correlation in deep learning, ECCV 2022",
            *((_ROAD,) if question.conditioned != "none" else ()),
        ),
        options=asdict(question) | pairs,
    )


_CONDITIONED = (
    " Conditioned scores: UniCAM maps of each pair at their last layers, distilled for the student and residual for "
    "the baseline, say which pixels of an image are kept (option percentile); the rest is filled in smoothly with a "
    "little noise (ROAD). Their RS and FSS are the plain correlations of what the networks then see; rs_mask_only is "
    "the RS of images of two flat colours that show nothing but which pixels were kept."
)
_LEAKS = (
    " Conditioned on a map, images also tell the map's shape, and UniCAM maps are made with the labels: a conditioned "
    "RS is about what was kept only as far as it exceeds rs_mask_only. The choice of pixels within an image may follow "
    "its label, too. Chance and p permute the labels after the maps were made, and see none of this. Images of which a "
    "map keeps nothing are left out (clean), or are mere noise (published)."
)
_ROAD = "Rong et al., A consistent and efficient evaluation strategy for attribution methods, ICML 2022"
