"""Which concepts do the units detect? Network dissection of every network of a study, layer by layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from kdlens.answer import Answer, Notes
from kdlens.data.concepts import CONCEPTS
from kdlens.data.concepts.annotated import ConceptData
from kdlens.errors import ConfigError
from kdlens.questions.context import Context, Subject, by_student
from kdlens.questions.dissection.alerts import say_unusual
from kdlens.questions.dissection.annotated import AUTO, Scale, mapped_layers, open_concepts, reader_of, scale_of
from kdlens.questions.dissection.changes import add_changes
from kdlens.questions.dissection.dissect import dissect_readers
from kdlens.questions.dissection.findings import say_all
from kdlens.questions.dissection.notes import notes
from kdlens.questions.dissection.pictures import add_pictures
from kdlens.questions.dissection.plan import Plan
from kdlens.questions.dissection.prepare import Preparation
from kdlens.questions.dissection.result import THRESHOLD
from kdlens.questions.dissection.rows import Found, Levels, add_gains, add_networks
from kdlens.questions.dissection.tally import CategoryRule
from kdlens.questions.dissection.thresholds import LEVEL, Rule
from kdlens.questions.options import at_least
from kdlens.questions.pairing import foreign_pairs

EXAMPLES = 6
"""Images shown of a unit."""

Preset = Literal["study", "data", "netdissect", "torchvision", "none"] | tuple[list[float], list[float]]


@dataclass(frozen=True)
class DissectionQuestion:
    """Which concepts do its units detect?

    Attributes:
        concepts: `"auto"`, the study's own images where kdlens knows their concepts; or registered annotated images.
        root: the folder of named ones.
        images: annotated images to draw; of the study's own, class-balanced.
        threshold: IoU from which a unit is a detector, as in Bau et al.
        also: a second one, as in Han et al.
        threshold_rule: see `kdlens.dissect`.
        category_rule: see `kdlens.dissect`.
        level: share of places at which a unit is active.
        min_images: labels of fewer images are not considered.
        shuffles: times the masks are dealt to other images, for the chance level.
        rotations: random rotations of every layer; each costs as much as the layer.
        preset: how annotated images are scaled: `"study"`, as the study's; or as in `kdlens.dissect`.
        gallery: units of a network shown with images.
    """

    name: ClassVar[str] = "dissection"

    concepts: str = AUTO
    root: str | None = None
    images: int = 1000
    threshold: float = THRESHOLD
    also: float = 0.05
    threshold_rule: Rule = "exact"
    category_rule: CategoryRule = "paper"
    level: float = LEVEL
    min_images: int = 10
    shuffles: int = 20
    rotations: int = 3
    preset: Preset = "study"
    gallery: int = 10

    def __post_init__(self) -> None:
        at_least(self, images=2, gallery=0)
        for option in ("threshold", "also"):
            if not 0 < getattr(self, option) <= 1:
                raise ConfigError(f"{option} is an IoU, above 0 and up to 1, got {getattr(self, option)}")
        if self.concepts != AUTO:
            CONCEPTS[self.concepts]  # refuses what there is not
        elif self.root is not None:
            raise ConfigError('root is the folder of named annotated images; say which, e.g. concepts: "broden"')
        self._plan(0)  # refuses what is out of range
        if self.preset != "study":
            Preparation.of(self.preset, None, None)  # type: ignore[arg-type]  # no data are asked for a fixed one

    def answer(self, context: Context) -> Answer:
        """Dissect all networks in the same passes over the annotated images; compare students and baselines.

        Raises:
            ConfigError: no concepts are known of the study's images, and none are named.
            DataError: no annotated image can be used.
        """
        concepts = open_concepts(context, self.concepts, self.root, self.images)
        answer = Answer(self.name, Notes(""))
        scale = scale_of(context, self.preset, concepts)
        maps = {subject: mapped_layers(context, subject) for subject in context.subjects}
        layers = {subject: tuple(found) for subject, (found, _) in maps.items()}
        found = self._dissect(context, concepts, layers, scale)
        if found:
            levels = Levels(self.threshold, self.also)
            add_networks(answer, found, levels)
            for trios in by_student(context):
                add_gains(answer, trios, found, levels)
                add_changes(answer, trios, found, self.threshold)
            say_all(answer, context, found, self.threshold, self.also)
            if self.gallery:
                add_pictures(answer, context, found, concepts, scale, self.threshold, self.gallery)
        say_unusual(answer, context, maps, found)
        one = next(iter(found.values()), None)
        answer.notes = notes(asdict(self) | foreign_pairs(context, teacher=False), concepts, one)
        return answer

    def _dissect(
        self, context: Context, concepts: ConceptData, layers: Mapping[Subject, tuple[str, ...]], scale: Scale
    ) -> Found:
        subjects = {str(place): subject for place, subject in enumerate(layers) if layers[subject]}
        readers = {place: reader_of(context, subject, layers[subject], scale) for place, subject in subjects.items()}
        if not readers:
            return {}
        say = lambda text: context.progress(f"{self.name}: {text}")  # noqa: E731
        found = dissect_readers(readers, concepts, self._plan(context.seed), say)
        return {(subjects[place], layer): one for (place, layer), one in found.items()}

    def _plan(self, seed: int) -> Plan:
        return Plan(
            threshold_rule=self.threshold_rule,
            level=self.level,
            category_rule=self.category_rule,
            min_images=self.min_images,
            shuffles=self.shuffles,
            rotations=self.rotations,
            examples=EXAMPLES if self.gallery else 0,
            seed=seed,
        )
