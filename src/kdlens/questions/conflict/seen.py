"""Every network's conflict on the same batches of a study's images: batches are alike on any number of processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.errors import LayerNotFoundError, did_you_mean
from kdlens.models.device import device_of
from kdlens.models.wrappers import unwrap
from kdlens.nn import HME
from kdlens.questions.accuracy.judged import Judged, judge
from kdlens.questions.conflict.cotangents import Kind, Task
from kdlens.questions.conflict.dealing import dealt
from kdlens.questions.conflict.gradients import kind_of, shuffled
from kdlens.questions.conflict.gram import Losses, gram_matrix, portion_of
from kdlens.questions.conflict.result import cosines_of
from kdlens.questions.conflict.shared import flat_size, shared_parameters, with_weights
from kdlens.questions.context import Context, Subject

Key = tuple[str, int]
"""A network's name and seed."""


@dataclass(frozen=True, eq=False)
class Sight:
    """One network and seed.

    Attributes:
        cosines: `(B, K, K)` of every batch.
        chance: the same with the labels of every batch dealt anew among its images; `None` where not asked for.
        layer: whose parameters are meant.
        parameters: how many they are.
        kind: what its logits are of.
    """

    cosines: Float[Tensor, "b k k"]
    chance: Float[Tensor, "b k k"] | None
    layer: str
    parameters: int
    kind: Kind


@dataclass(frozen=True, eq=False)
class Study:
    """A study, reduced to what the question works on.

    Attributes:
        sights: of every network and seed, in the order of the study.
        subjects: the networks themselves.
        roles: by name.
        partners: the baseline of every student and seed.
        judged: logits on all images, by name.
        classes: names.
        labels: of all images.
        batches: indices of the images of every batch, `(B, size)`.
        broken: images left out because some network gives NaN or infinite logits for them.
    """

    sights: Mapping[Key, Sight]
    subjects: Mapping[Key, Subject]
    roles: Mapping[str, str]
    partners: Mapping[Key, Key]
    judged: Mapping[str, Judged]
    classes: tuple[str, ...]
    labels: Int[Tensor, " n"]
    batches: Int[Tensor, "b size"]
    broken: int

    @property
    def students(self) -> list[str]:
        """Names of the students."""
        return [name for name, role in self.roles.items() if role == "student"]

    @property
    def images(self) -> int:
        """Images in all batches."""
        return self.batches.numel()

    @property
    def counts(self) -> Int[Tensor, "b k"]:
        """Images of every class in every batch."""
        rows = [torch.bincount(self.labels[batch], minlength=len(self.classes)) for batch in self.batches]
        return torch.stack(rows)

    def keys(self, name: str) -> list[Key]:
        """A network's seeds."""
        return [key for key in self.sights if key[0] == name]

    def baseline(self, student: str) -> str:
        """The baseline that a student is compared with."""
        return self.partners[self.keys(student)[0]][0]

    def comparable(self, student: str) -> bool:
        """Whether a student and its baseline are measured at a layer of one name, with logits of one kind."""
        pairs = [(self.sights[key], self.sights[self.partners[key]]) for key in self.keys(student)]
        return all((mine.layer, mine.kind) == (other.layer, other.kind) for mine, other in pairs)

    def label(self, key: Key) -> str:
        """A network for people."""
        return self.subjects[key].label


@dataclass(frozen=True)
class Plan:
    """How the question looks: see `kdlens.questions.conflict.question.Conflict`."""

    layer: str
    task: Task
    batch_size: int | None
    batches: int
    chance: bool


def batch_size_of(asked: int | None, classes: int) -> int:
    """Images a gradient is averaged over: as asked, else at least 64 and two of a class."""
    return max(64, 2 * classes) if asked is None else asked


def look(context: Context, plan: Plan) -> Study:
    """Measure every network on the same batches.

    Raises:
        DataError: no images, or labels outside the classes.
        ModelError: logits of the wrong shape, none finite, or a layer without parameters.
        LayerNotFoundError: a student or baseline has no such layer.
    """
    judged = judge(context)
    classes, labels = tuple(context.class_names), context.labels
    finite = torch.stack([one.finite for one in judged.values()]).all(0)
    size = batch_size_of(plan.batch_size, len(classes))
    drawn = context.draw(size * plan.batches, "conflict")
    usable = drawn[finite[drawn]]
    batches = torch.stack([usable[batch] for batch in dealt(labels[usable], size, plan.batches)])
    sights = {}
    for subject in context.subjects:
        context.progress(f"{subject.label}: gradients of {len(classes)} classes in a shared layer")
        sights[subject.name, subject.seed] = _sight(context, subject, plan, batches)
    return Study(
        sights=sights,
        subjects={(s.name, s.seed): s for s in context.subjects},
        roles={one.name: one.role for one in judged.values()},
        partners={(t.student.name, t.student.seed): (t.baseline.name, t.baseline.seed) for t in context.trios()},
        judged=judged,
        classes=classes,
        labels=labels,
        batches=batches,
        broken=int((~finite).sum()),
    )


def layer_of(subject: Subject, asked: str) -> str:
    """The shared layer of a network: as asked; a teacher without it, and `"auto"`, take the trunk or the last layer.

    Raises:
        LayerNotFoundError: a student or baseline has no such layer.
        ModelError: no layer with parameters.
    """
    names = [name for name, _ in unwrap(subject.network).named_modules()]
    if asked != "auto" and asked in names:
        return asked
    if asked != "auto" and subject.role != "teacher":
        raise LayerNotFoundError(f'layer "{asked}" not found in {subject.name}{did_you_mean(asked, names)}')
    inner = unwrap(subject.network)
    if isinstance(inner, HME) and any(True for _ in inner.trunk.parameters()):
        return "trunk"
    return with_weights(subject.network, subject.layers[-1])


def _sight(context: Context, subject: Subject, plan: Plan, batches: Int[Tensor, "b size"]) -> Sight:
    """Batches are dealt to the processes whole, so that their gradients do not depend on how many there are."""
    layer, kind, classes = layer_of(subject, plan.layer), kind_of(subject.network), len(context.class_names)
    size = flat_size(shared_parameters(subject.network, layer))

    def measure(network: nn.Module, part: Tensor, positions: Tensor) -> dict[str, Tensor]:
        parameters = shared_parameters(network, layer)
        found: dict[str, list[Tensor]] = {"cosines": [], "chance": []}
        for indices, position in zip(part.cpu(), positions.tolist(), strict=True):
            images, labels, _ = context.batch(indices)
            losses = Losses(plan.task, kind, portion_of(network, images))
            images = images.to(device_of(network))
            dealt_labels = shuffled(labels, context.seed + position)
            for name, theirs in (
                (("cosines", labels), ("chance", dealt_labels)) if plan.chance else (("cosines", labels),)
            ):
                gram = gram_matrix(network, images, theirs, parameters, losses, classes=classes)
                found[name].append(cosines_of(gram)[0])
        return {name: torch.stack(each) for name, each in found.items() if each}

    measured = context.through(subject, batches, measure)
    return Sight(measured["cosines"], measured.get("chance"), layer, size, kind)


def means(sights: Sequence[Sight]) -> Float[Tensor, "b k k"]:
    """Mean over the seeds of a network, batch by batch."""
    return torch.stack([sight.cosines for sight in sights]).nanmean(0)
