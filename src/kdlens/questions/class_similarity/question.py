"""Did the teacher's class similarity arrive? Likeness of similarity matrices, entropy within categories, confusions."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from kdlens.answer import Answer
from kdlens.errors import ConfigError
from kdlens.questions.class_similarity.alerts import say_alerts
from kdlens.questions.class_similarity.categories import (
    Categories,
    categories_of,
    check_given,
    source_of,
    two_halves,
)
from kdlens.questions.class_similarity.correlation import Over
from kdlens.questions.class_similarity.entropy import Base, Within
from kdlens.questions.class_similarity.findings import say_all
from kdlens.questions.class_similarity.notes import notes_of
from kdlens.questions.class_similarity.pictures import add_pictures
from kdlens.questions.class_similarity.prepared import Prepared, prepare
from kdlens.questions.class_similarity.rows_confusions import add_confusions
from kdlens.questions.class_similarity.rows_entropy import Entropies, add_entropies
from kdlens.questions.class_similarity.rows_similarity import Plan, add_similarity
from kdlens.questions.class_similarity.similarity import Kind, class_similarity
from kdlens.questions.context import Context
from kdlens.questions.options import at_least, one_of
from kdlens.questions.phrases import counted


@dataclass(frozen=True)
class ClassSimilarity:
    """Did the teacher's class similarity arrive?

    Attributes:
        groups: categories of classes for the entropies: a table class: category; lists of class names; `"teacher"`, a
            clustering of the teacher's similarity on half of the images, used on the other half; `"cifar100"`, its 20
            superclasses; `"all"`, one category; or `"auto"`, the first of `"cifar100"`, `"teacher"`, `"all"` that fits.
        temperature: of the similarity matrices.
        of: `"probabilities"` or `"logits"`, what the matrices are means of.
        over: `"rows"` or `"all"`, whether the ranks are those within a row or among all entries.
        include_target: whether the label's own class counts in the entropies.
        renormalise: whether probabilities are divided by their sum within the category.
        mean_first: take the entropy of the mean distribution of a class, rather than the mean entropy of its images.
        base: unit of the entropies.
        temperatures: at which the entropies are drawn.
        margin: the smallest gain or loss in rank correlation worth having.
        draws: resamples of the intervals.
        permutations: relabellings of the classes for the chance level.
    """

    name: ClassVar[str] = "class_similarity"

    groups: str | dict[str, str] | list[list[str]] = "auto"
    temperature: float = 4.0
    of: Kind = "probabilities"
    over: Over = "rows"
    include_target: bool = True
    renormalise: bool = True
    mean_first: bool = False
    base: Base = "nats"
    temperatures: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    margin: float = 0.05
    draws: int = 500
    permutations: int = 999

    def __post_init__(self) -> None:
        at_least(self, margin=0, draws=2, permutations=1)
        one_of(self, of=("probabilities", "logits"), over=("rows", "all"), base=("nats", "bits"))
        for option, values in (("temperature", (self.temperature,)), ("temperatures", self.temperatures)):
            if not values or not all(0 < t < math.inf for t in values):
                raise ConfigError(f"{option} must be above 0 and finite, got {getattr(self, option)!r:.80}")
        check_given(self.groups)

    def answer(self, context: Context) -> Answer:
        """Compare every network's class similarity with the teacher's, on all images.

        With fewer than 3 classes, or images of fewer than 3, the answer is one alert that says so.

        Raises:
            DataError: no images, or labels outside the classes.
            ModelError: logits that do not fit the data, or are NaN for all images.
            ConfigError: categories of classes that the data has not.
        """
        found = prepare(context)
        answer = Answer(self.name, notes_of(self, {}))
        if len(found.present) < 3:
            answer.say(_too_few(found), kind="alert", tone="bad")
            return answer
        halves = two_halves(found.labels, seed=context.seed)
        categories, images = self._categories(found, halves)
        answer.notes = notes_of(self, categories.named(found.classes))
        context.progress("class similarity: comparing similarity matrices")
        add_similarity(answer, found, halves, self._plan(context.seed))
        within = Within(self.include_target, self.renormalise, "mean" if self.mean_first else "samples", self.base)
        entropies = Entropies(found, images, categories, within, self.draws, context.seed)
        problem = add_entropies(answer, entropies, self.temperatures)
        add_pictures(answer, found, categories, temperature=self.temperature)
        stories = {}
        if found.teacher is not None:
            similarity = class_similarity(found.logits[found.teacher], found.labels, temperature=self.temperature)
            stories = add_confusions(answer, found, similarity, seed=context.seed)
        say_all(answer, found, stories, categories, margin=self.margin)
        say_alerts(answer, found, categories, problem)
        return answer

    def _plan(self, seed: int) -> Plan:
        return Plan(self.temperature, self.of, self.over, self.draws, self.permutations, seed)

    def _categories(self, found: Prepared, halves: tuple[Tensor, Tensor]) -> tuple[Categories, Tensor]:
        """The categories, and the images of which entropies are taken: not those that chose the categories."""
        every, first = torch.arange(len(found.labels)), halves[0]
        source = source_of(self.groups, found.classes, teacher=found.teacher is not None)
        if source != "teacher" or found.teacher is None:
            return categories_of(self.groups, found.classes, None), every
        if len(first) == 0:  # one image of every class: nothing is left to choose categories by
            return categories_of("all", found.classes, None), every
        logits, labels = found.logits[found.teacher][first], found.labels[first]
        similarity = class_similarity(logits, labels, temperature=self.temperature)
        return categories_of("teacher", found.classes, similarity), halves[1]


def _too_few(found: Prepared) -> str:
    """Why nothing can be said of classes that are alike."""
    if len(found.classes) < 3:
        return (
            f"Class similarity needs 3 classes or more, and the data has {len(found.classes)}: with two there is only "
            "one wrong class, and nothing to be more alike. Nothing was measured; leave this question out."
        )
    what = counted(len(found.labels), "image")
    return (
        "Class similarity needs images of 3 classes or more on which all networks give finite logits; there are "
        f"{what} of {counted(len(found.present), 'class', 'classes')}. Nothing was measured."
    )
