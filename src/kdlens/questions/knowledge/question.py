"""How much does the student know, on the object and off it? Knowledge points of every network, layer by layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from torch import Tensor

from kdlens.answer import Answer, Notes
from kdlens.questions.context import Context, Subject, by_student
from kdlens.questions.knowledge.drawn import Drawn, Setup, draw
from kdlens.questions.knowledge.findings import say_all, say_backend, say_rejected, say_without_points
from kdlens.questions.knowledge.measure import Decision, Measure, check_options, decide, entropy_maps
from kdlens.questions.knowledge.notes import notes
from kdlens.questions.knowledge.pictures import examples, kept_cells, sweeps
from kdlens.questions.knowledge.points import Background
from kdlens.questions.knowledge.rows import Counting, add_gains, add_networks
from kdlens.questions.pairing import foreign_pairs, pair_layers


@dataclass(frozen=True)
class Knowledge:
    """How much does it know, on the object and off it?

    Attributes:
        images: class-balanced images to draw.
        grid: cells a side; `"auto"`: 16, or fewer where the images are small.
        protocol: see `kdlens.information_discarding`.
        backend: `"auto"`, `"linear"` (fast) or `"monte-carlo"` (slow); all networks of a layer get the same one.
        probes: backward passes an image, of the fast way; fewer are quicker and noisier.
        threshold: by how much less than the background a cell must be discarded, nats.
        background: `"dataset"`, as published, or `"image"`.
        foreground: `"masks"`, or `"centre"` for crops centred on their object.
        gallery: example images in the report.
    """

    name: ClassVar[str] = "knowledge"

    images: int = 50
    grid: int | Literal["auto"] = "auto"
    protocol: Literal["published", "converged", "alpha"] = "published"
    backend: Literal["auto", "linear", "monte-carlo"] = "auto"
    probes: int = 64
    threshold: float = 0.2
    background: Background = "dataset"
    foreground: Literal["masks", "centre"] = "masks"
    gallery: int = 12

    def __post_init__(self) -> None:
        Setup(self.images, self.grid, self.foreground).check()
        check_options(self)

    def answer(self, context: Context) -> Answer:
        """Count the points of every network on the same images, with the same probes; compare students and baselines.

        The teacher is measured beside them, in a way of its own, so that nothing said of the others depends on it.
        Without masks (and without `foreground="centre"`) the answer is one alert that says so.
        """
        answer = Answer(self.name, Notes(""))
        options = asdict(self) | foreign_pairs(context, teacher=False)
        drawn = draw(context, Setup(self.images, self.grid, self.foreground), answer)
        if drawn is None:
            answer.notes = notes(options)
            return answer
        measure = Measure(drawn.cells[0], self.protocol, self.backend, context.seed, self.probes)
        maps: dict[tuple[Subject, str], Tensor] = {}
        decisions: dict[str, Decision] = {}
        groups = places_by_layer(context) | places_of_teacher(context)
        for layer, subjects in groups.items():
            decisions[layer] = decide(context, measure, subjects, drawn.images, drawn.indices)
            for subject, own in subjects:
                context.progress(f"knowledge: {subject.label} at {own}")
                backend = decisions[layer].backend
                maps[subject, own] = entropy_maps(context, measure, subject, own, drawn.images, drawn.indices, backend)
        ways = {f"way at {layer}": f"{d.backend} ({d.reason})" for layer, d in decisions.items()}
        answer.notes = notes(options | {"grid": " x ".join(map(str, drawn.cells)), **ways})
        self._count(answer, context, drawn, maps)
        for layer, decision in decisions.items():
            say_backend(answer, layer, decision, alone=len(groups[layer]) == 1)
        return answer

    def _count(
        self, answer: Answer, context: Context, drawn: Drawn, maps: Mapping[tuple[Subject, str], Tensor]
    ) -> None:
        counting = Counting(drawn.foreground, self.threshold, self.background, context.seed)
        add_networks(answer, maps, counting)
        for trios in by_student(context):
            add_gains(answer, trios, maps, counting)
            say_all(answer, trios[0].student.name, trios[0].student.layers)
        _say_unusual(answer, maps, counting)
        last: dict[str, list[Tensor]] = {}
        for subject, layer in maps:
            if layer == subject.layers[-1]:
                last.setdefault(subject.name, []).append(maps[subject, layer])
        answer.arrays |= sweeps(last, counting)
        if self.gallery:
            chosen, arrays = examples(context, drawn, self.gallery)
            answer.arrays |= arrays | kept_cells(last, counting, chosen)


def places_by_layer(context: Context, *, last: bool = False) -> dict[str, list[tuple[Subject, str]]]:
    """All students and baselines with their layers, in groups that are compared with each other.

    Args:
        context: the study.
        last: take the last layers only.

    Returns:
        A student's layer -> the networks compared there, each with the name of its own layer; a baseline's layer that
        meets several of a student's stands in the first group.
    """
    groups: dict[str, list[tuple[Subject, str]]] = {}
    seen: set[tuple[Subject, str]] = set()
    for trio in context.trios():
        pairs = pair_layers(trio.student.layers, trio.baseline.layers)
        for mine, other in pairs[-1:] if last else pairs:
            new = [place for place in ((trio.student, mine), (trio.baseline, other)) if place not in seen]
            groups.setdefault(mine, []).extend(new)
            seen.update(new)
    return groups


def places_of_teacher(context: Context) -> dict[str, list[tuple[Subject, str]]]:
    """The teacher with each of its layers, a group by itself; empty without a teacher."""
    teachers = [subject for subject in context.subjects if subject.role == "teacher"]
    return {f"{layer} of {t.label}": [(t, layer)] for t in teachers for layer in t.layers}


def _say_unusual(answer: Answer, maps: Mapping[tuple[Subject, str], Tensor], counting: Counting) -> None:
    """Images that were rejected or have no points; of several seeds the worst."""
    rejected: dict[str, dict[str, int]] = {}
    without: dict[str, dict[str, int]] = {}
    for (subject, layer), entropy in maps.items():
        found = counting.of(entropy)
        for worst, now in ((rejected, found.rejected), (without, found.without_points)):
            of_name = worst.setdefault(subject.name, {})
            of_name[layer] = max(now, of_name.get(layer, 0))
    n = len(counting.foreground)
    for name in rejected:
        for layer, count in rejected[name].items():
            say_rejected(answer, name, layer, count, n)
        say_without_points(answer, name, without[name], n)
