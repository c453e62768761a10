"""How does it settle conflicts between classes? Gradients that pull a layer apart, and who reads which expert."""

from dataclasses import dataclass
from typing import ClassVar

from kdlens.answer import Answer
from kdlens.errors import ConfigError
from kdlens.questions.conflict.alerts import say_alerts
from kdlens.questions.conflict.cotangents import Task
from kdlens.questions.conflict.findings import say_all
from kdlens.questions.conflict.findings_routing import say_routing
from kdlens.questions.conflict.notes import notes_of
from kdlens.questions.conflict.pictures import add_pictures
from kdlens.questions.conflict.rows import add_conflict, add_pairs
from kdlens.questions.conflict.rows_routing import add_attention, add_groups, reports_of
from kdlens.questions.conflict.rows_virtual import add_virtual
from kdlens.questions.conflict.seen import Plan, Study, look
from kdlens.questions.conflict.superclasses import check_word, superclasses_of
from kdlens.questions.context import Context
from kdlens.questions.options import at_least, one_of


@dataclass(frozen=True)
class Conflict:
    """How does it settle conflicts between classes?

    Attributes:
        layer: the shared layer, a convolution, block or stage by its dotted name; a teacher without it shows its last
            one. `"auto"`: the last of every network's layers, or the trunk of a mixture of experts.
        task: `"binary"`, every class a question to all images, or `"images"`, every class its images.
        batch_size: images over which a gradient is averaged; `None`: 64, and at least two of every class.
        batches: how many batches, of different images.
        chance: also measure with labels dealt anew, at the same price again.
        groups: superclasses: a table class: superclass, lists of class names, `"none"`, or `"auto"`, those of CIFAR-100
            or CIFAR-10 where the classes are theirs.
        margin: the smallest change of the conflict rate worth having, in points.
        permutations: how often superclasses are dealt anew.
    """

    name: ClassVar[str] = "conflict"

    layer: str = "auto"
    task: Task = "binary"
    batch_size: int | None = None
    batches: int = 8
    chance: bool = True
    groups: str | dict[str, str] | list[list[str]] = "auto"
    margin: float = 5.0
    permutations: int = 999

    def __post_init__(self) -> None:
        at_least(self, batches=1, margin=0, permutations=1)
        if self.batch_size is not None:
            at_least(self, batch_size=2)
        one_of(self, task=("binary", "images"))
        if not self.layer:
            raise ConfigError('layer must be "auto" or a dotted layer name, not empty')
        check_word(self.groups)

    def answer(self, context: Context) -> Answer:
        """Measure the conflict of classes in every network, and read the attention of those that have some.

        With one class, the answer is one alert that says so.

        Raises:
            DataError: no images, or labels outside the classes.
            ModelError: logits that do not fit the data or are never finite, or a layer without parameters.
            LayerNotFoundError: a student or baseline has no such layer.
            ConfigError: superclasses of classes that the data has not.
        """
        known = superclasses_of(self.groups, context.class_names)
        answer = Answer(self.name, notes_of(self, {}, {}))
        if len(context.class_names) < 2:
            text = "A conflict needs two classes or more, and the data has one. Nothing was measured."
            answer.say(text, kind="alert", tone="bad")
            return answer
        study = look(context, Plan(self.layer, self.task, self.batch_size, self.batches, self.chance))
        answer.notes = notes_of(self, _resolved(study), known.named(study.classes) if known else {})
        reports = reports_of(study)
        add_conflict(answer, study)
        pairs = {student: add_pairs(answer, study, student) for student in study.students}
        add_attention(answer, study, reports)
        add_groups(answer, study, reports, known, draws=self.permutations, seed=context.seed)
        add_virtual(answer, context, study)
        add_pictures(answer, study, reports, known)
        say_all(answer, study, pairs, margin=self.margin)
        say_routing(answer, study, reports, known)
        say_alerts(answer, study, reports)
        return answer


def _resolved(study: Study) -> dict[str, object]:
    """What the options came to."""
    count, size = study.batches.shape
    return {
        "batch_size": size,
        "batches": count,
        "layers": {study.label(key): sight.layer for key, sight in study.sights.items()},
    }
