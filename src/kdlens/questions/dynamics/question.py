"""When did the student learn what it knows, and by how straight a path? Knowledge points over the checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from kdlens.answer import Answer, Notes
from kdlens.errors import HistoryError
from kdlens.models.history import History
from kdlens.questions.context import Context, Subject, Trio, by_student
from kdlens.questions.dynamics.counting import LearningDynamics
from kdlens.questions.dynamics.findings import (
    say_all,
    say_epochs,
    say_left_out,
    say_missing,
    say_mixed,
    say_never,
    say_no_path,
)
from kdlens.questions.dynamics.notes import notes
from kdlens.questions.dynamics.pictures import curves, time_lapse
from kdlens.questions.dynamics.rows import KINDS, Timing, Trained, add_changes, add_networks
from kdlens.questions.knowledge.drawn import Drawn, Setup, draw
from kdlens.questions.knowledge.findings import say_backend
from kdlens.questions.knowledge.measure import Measure, check_options, decide, entropy_maps
from kdlens.questions.knowledge.pictures import examples
from kdlens.questions.knowledge.points import Background
from kdlens.questions.knowledge.rows import Counting
from kdlens.questions.options import one_of
from kdlens.questions.pairing import foreign_pairs, pair_layers


@dataclass(frozen=True)
class Dynamics:
    """When did it learn what it knows, and by how straight a path?

    The networks' trainings must be known: see `training` in a study file and in `kdlens.explain`.

    Attributes:
        images: class-balanced images to draw.
        path: distances of the weights summed `"per_step"`, as in the published code, or `"per_epoch"`.
        grid: cells a side; `"auto"`: 16, or fewer where the images are small.
        protocol: see `kdlens.information_discarding`.
        backend: `"auto"`, `"linear"` (fast) or `"monte-carlo"` (slow); all networks get the same one.
        probes: backward passes an image, of the fast way; fewer are quicker and noisier.
        threshold: by how much less than the background a cell must be discarded, nats.
        background: `"dataset"`, as published, or `"image"`.
        foreground: `"masks"`, or `"centre"` for crops centred on their object.
        gallery: example images in the report.
    """

    name: ClassVar[str] = "dynamics"

    images: int = 50
    path: Literal["per_step", "per_epoch"] = "per_step"
    grid: int | Literal["auto"] = "auto"
    protocol: Literal["published", "converged", "alpha"] = "published"
    backend: Literal["auto", "linear", "monte-carlo"] = "auto"
    probes: int = 64
    threshold: float = 0.2
    background: Background = "dataset"
    foreground: Literal["masks", "centre"] = "masks"
    gallery: int = 6

    def __post_init__(self) -> None:
        Setup(self.images, self.grid, self.foreground).check()
        check_options(self)
        one_of(self, path=KINDS)

    def answer(self, context: Context) -> Answer:
        """Count the points of every student and baseline at every checkpoint, at the last layer.

        Without masks, or without a student whose training and whose baseline's training are known, the answer is alerts
        that say so.
        """
        answer = Answer(self.name, Notes(""))
        options = asdict(self) | foreign_pairs(context, teacher=False)
        answer.notes = notes(options)
        trios = _known(answer, context)
        if not trios:
            return answer
        places = _places(trios)
        epochs = _common(answer, [subject for subject, _ in places])
        drawn = draw(context, Setup(self.images, self.grid, self.foreground), answer) if epochs else None
        if drawn is None:
            return answer
        measure = Measure(drawn.cells[0], self.protocol, self.backend, context.seed, self.probes)
        decision = decide(context, measure, places, drawn.images, drawn.indices)
        trained = {
            place: _measure(answer, context, measure, place, drawn, epochs, decision.backend) for place in places
        }
        unit = _history(places[0][0]).unit
        way = {"way": f"{decision.backend} ({decision.reason})", f"{unit}s": ", ".join(map(str, epochs))}
        answer.notes = notes(options | {"grid": " x ".join(map(str, drawn.cells)), **way})
        say_backend(answer, places[0][1], decision)
        counting = Counting(drawn.foreground, self.threshold, self.background, context.seed)
        self._count(answer, context, drawn, trios, trained, Timing(counting, epochs, unit))
        return answer

    def _count(
        self,
        answer: Answer,
        context: Context,
        drawn: Drawn,
        trios: Sequence[Trio],
        trained: Mapping[tuple[Subject, str], Trained],
        timing: Timing,
    ) -> None:
        add_networks(answer, trained, timing)
        for name in dict.fromkeys(trio.student.name for trio in trios):
            of_name = [trio for trio in trios if trio.student.name == name]
            mine, other = _last_pair(of_name[0])
            add_changes(answer, of_name, mine, other, trained, timing)
            say_all(answer, name, mine, self.path, timing.unit)
        by_name: dict[str, list[Trained]] = {}
        for (subject, _), one in trained.items():
            by_name.setdefault(subject.name, []).append(one)
        for name, seeds in by_name.items():
            found = [timing.whole(one) for one in seeds]
            say_left_out(answer, name, max(int((~one.counted).sum()) for one in found), len(drawn.indices))
            say_never(answer, name, max(_never(one) for one in found), len(drawn.indices))
        answer.arrays |= curves(by_name, timing)
        if self.gallery:
            chosen, arrays = examples(context, drawn, self.gallery)
            answer.arrays |= arrays | time_lapse(by_name, timing, chosen)


def _known(answer: Answer, context: Context) -> list[Trio]:
    """Students whose training is known, and whose baseline's is."""
    missing = [
        subject.name
        for trios in by_student(context)
        for trio in trios
        for subject in (trio.student, trio.baseline)
        if subject.history is None
    ]
    say_missing(answer, list(dict.fromkeys(missing)))
    return [
        t for ts in by_student(context) for t in ts if t.student.history is not None and t.baseline.history is not None
    ]


def _history(subject: Subject) -> History:
    assert subject.history is not None  # noqa: S101 - checked by _known
    return subject.history


def _last_pair(trio: Trio) -> tuple[str, str]:
    return pair_layers(trio.student.layers, trio.baseline.layers)[-1]


def _places(trios: Sequence[Trio]) -> list[tuple[Subject, str]]:
    """Every network that is compared, once, with its last layer."""
    found = [place for trio in trios for place in zip((trio.student, trio.baseline), _last_pair(trio), strict=True)]
    return list(dict.fromkeys(found))


def _common(answer: Answer, subjects: Sequence[Subject]) -> list[int]:
    """The epochs after which all networks were kept; none, with an alert, where fewer than two are common.

    Of lists, whose epochs are not known, the places that all of them have; of folders and lists together nothing.
    """
    histories = [_history(subject) for subject in subjects]
    listed = [subject.label for subject, history in zip(subjects, histories, strict=True) if history.unit != "epoch"]
    if 0 < len(listed) < len(subjects):
        say_mixed(answer, listed, [subject.label for subject in subjects if subject.label not in listed])
        return []
    every = [[checkpoint.epoch for checkpoint in history.checkpoints] for history in histories]
    common = sorted(set(every[0]).intersection(*every))
    if len(common) < 2:
        known = "; ".join(dict.fromkeys(", ".join(map(str, epochs)) for epochs in every))
        answer.say(
            "The trainings have fewer than two epochs in common after which a checkpoint was kept, so they cannot be "
            f"compared: {known}. Record all networks after the same epochs.",
            kind="alert",
            tone="bad",
        )
        return []
    dropped = sorted({epoch for epochs in every for epoch in epochs} - set(common))
    say_epochs(answer, common, dropped, histories[0].unit)
    return common


def _measure(
    answer: Answer,
    context: Context,
    measure: Measure,
    place: tuple[Subject, str],
    drawn: Drawn,
    epochs: Sequence[int],
    backend: str,
) -> Trained:
    """Entropies of one network at the common checkpoints, and how far its weights had travelled."""
    subject, layer = place
    history = _history(subject)
    kept = [(i, one) for i, one in enumerate(history.checkpoints) if one.epoch in epochs]
    maps = []
    for _, checkpoint in kept:
        context.progress(f"dynamics: {subject.label} at {checkpoint.moment}")
        then = context.at(subject, checkpoint)
        maps.append(entropy_maps(context, measure, then, layer, drawn.images, drawn.indices, backend))
    paths: dict[str, Tensor] = {}
    for kind in KINDS:
        try:
            paths[kind] = history.of(subject.network).path(layer, kind)[[i for i, _ in kept]]
        except HistoryError as error:
            if kind == KINDS[0]:
                say_no_path(answer, subject.label, str(error))
    return Trained(torch.stack(maps), paths)


def _never(found: LearningDynamics) -> int:
    """Images whose object has no point at any checkpoint."""
    return int((found.on_object.amax(0) == 0).sum())
