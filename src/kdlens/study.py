"""Study: networks and images in, answers and a report out. The only place where the parts of kdlens meet."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from kdlens.answer import Answer
from kdlens.checks import Diagnosis, doctor
from kdlens.config import Question
from kdlens.data.images import Images, as_given
from kdlens.environment import command_line, environment
from kdlens.errors import RunFolderError, in_one_line, log_failure
from kdlens.models.asked import Layers, check_layers
from kdlens.models.weights import weights_fingerprint
from kdlens.networks import (
    Network,
    check_fit,
    check_roles,
    other_trainings,
    outputs_of,
    subject_of,
    with_training,
)
from kdlens.progress import Stages
from kdlens.questions.making import make_questions
from kdlens.questions.phrases import listed
from kdlens.report import DataCard, Meta, ModelCard, Report
from kdlens.runs import RunFolder, fingerprint_of
from kdlens.runtime import Runtime
from kdlens.workbench import Workbench

DEFAULT_QUESTIONS: tuple[Question, ...] = ("accuracy", "unicam", "relevance", "reliance")
Networks = nn.Module | Sequence[nn.Module]
Say = Callable[[str], None]


class Study:
    """Models, data and questions; `run` gives the report.

    Args:
        networks: teacher (optional), baseline(s) and student(s).
        images: the images to explain on.
        questions: names, or `{name: options}`.
        layers: `"auto"`, dotted names for all networks, or names per role.
        seed: seed of every random choice.
        batch_size: images a forward pass; `None` estimates it.
        device: `"auto"` or a torch device name.
        out: run folder. With one, finished answers are kept and not computed again; without, nothing is written.
        title: title of the report.
        source: the study file as text, for the report.
        say: called with a short text when something long starts.

    Raises:
        ConfigError: networks, layers or questions that make no study, or an option of a question that is unknown.
        UnknownNameError: an unknown question; LayerNotFoundError: an unknown layer.
        ModelError: a network does not fit the data.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        images: Images,
        *,
        questions: Sequence[Question] = DEFAULT_QUESTIONS,
        layers: Layers = "auto",
        seed: int = 0,
        batch_size: int | None = None,
        device: str = "auto",
        out: str | os.PathLike[str] | None = None,
        title: str | None = None,
        source: str = "",
        say: Say = lambda text: None,
    ) -> None:
        check_roles(networks)
        layers = check_layers(layers)
        self.questions = make_questions(questions)
        self.networks = tuple(networks)
        self.runtime = Runtime(device, batch_size)
        self.layers = layers
        self.title = title
        self.source = source
        self._say = say
        self._asked = ""
        self.folder = RunFolder(out) if out is not None and self.runtime.processes.is_main else None
        image = images.batch(torch.tensor([0]))[0].to(self.runtime.device)
        for network in networks:
            network.module.to(self.runtime.device)
        outputs = None if images.named else outputs_of(networks, image)
        self.images = images = images if outputs is None else images.of_outputs(outputs)
        for network in networks:
            check_fit(network, image, len(images.classes))
        subjects = [subject_of(network, image, layers) for network in networks]
        self.workbench = Workbench(subjects, images, seed=seed, runtime=self.runtime, say=self._tell)

    def run(self, *, alerts: Sequence[str] = ()) -> "Report":
        """Answer every question and return the report; with a run folder it is written there, too.

        A question that fails does not cost the others: its error stands in the report and in `Report.meta.failed`.

        Args:
            alerts: what the reader must know first, e.g. from `kdlens.doctor`.
        """
        answers: dict[str, Answer] = {}
        failed: dict[str, str] = {}
        common = self._fingerprint()
        self._tell_of_another(common)
        for question in self.questions:
            try:
                answers[question.name] = self._answer(question, common)
            except RunFolderError:
                raise  # no room for this answer means none for the next
            except Exception as error:  # noqa: BLE001 - whatever it is, the other questions can be answered
                failed[question.name] = in_one_line(error)
                if isinstance(self._say, Stages):
                    self._say.close(done=False)
                log_failure(f"{question.name} failed", error)
        report = Report(answers, self._meta([*alerts, *other_trainings(self.networks)], failed))
        if self.folder is not None:
            self._write(report)
        self.runtime.processes.wait()
        return report

    def diagnose(self) -> Diagnosis:
        """Run the doctor on teacher, baseline and every student, the first seed of each; see `kdlens.doctor`."""
        self.workbench.progress("doctor: looking for the usual mistakes (first seed of every network)")
        return diagnose(self.networks, self.images, layers=self.layers, seed=self.workbench.seed)

    def _answer(self, question: Any, common: dict[str, Any]) -> Answer:
        fingerprint = fingerprint_of({**common, "question": question.name, "options": asdict(question)})
        stored = self.folder.load_answer(question.name, fingerprint) if self.folder else None
        stored = self.runtime.processes.share(
            stored
        )  # only the first process sees the folder, and all must do the same
        if stored is not None:
            self.workbench.progress(f"{question.name}: unchanged, taken from the run folder")
            return stored
        self.workbench.progress(f"{question.name}: computing")
        self._asked = question.name
        try:
            answer: Answer = question.answer(self.workbench)
        finally:
            self._asked = ""
        if self.folder is not None:
            self.folder.save_answer(answer, fingerprint)
        return answer

    def _tell(self, text: str) -> None:
        """Begin a stage; what a question says while it is answered is no stage of its own, so it gets its time."""
        if self._asked and isinstance(self._say, Stages):
            self._say.detail(text.removeprefix(f"{self._asked}: "))
        else:
            self._say(text)

    def _tell_of_another(self, common: Mapping[str, Any]) -> None:
        """Nobody's report is replaced without a word."""
        if self.folder is None:
            return
        names = {"networks": "networks or layers", "training": "training", "images": "data", "seed": "seed"}
        changed = self.folder.made_from({names[part]: content for part, content in common.items()})
        if changed:
            what = f"another study ({listed(changed)} changed)"
            self.workbench.progress(f"{self.folder.path} held {what}; its answers are replaced")

    def _fingerprint(self) -> dict[str, Any]:
        """What every answer depends on beside its question."""
        histories = {(s.name, s.seed): s.history.fingerprint for s in self.workbench.subjects if s.history is not None}
        return {
            "networks": [
                (s.name, s.role, s.seed, s.layers, str(s.network), weights_fingerprint(s.network))
                for s in self.workbench.subjects
            ],
            **({"training": sorted(histories.items())} if histories else {}),
            "images": self.images.fingerprint(),
            "seed": self.workbench.seed,
        }

    def _meta(self, alerts: Sequence[str], failed: dict[str, str]) -> "Meta":
        cards = [
            ModelCard(
                name=network.name,
                role=network.role,
                seed=network.seed,
                arch=network.arch or type(network.module).__name__,
                parameters=sum(p.numel() for p in network.module.parameters()),
                layers=subject.layers,
                weights=network.weights,
                fingerprint=weights_fingerprint(network.module)[:12],
            )
            for network, subject in zip(self.networks, self.workbench.subjects, strict=True)
        ]
        image = self.images[0].image
        data = DataCard(name=self.images.name, n=len(self.images), classes=tuple(self.images.classes), size=image.shape)
        names = dict.fromkeys(n.name for n in self.networks if n.role == "student")
        students = ["the student" if name == "student" else name for name in names]
        return Meta(
            title=self.title or f"What did {listed(students)} learn?",
            command=command_line(),
            environment=environment(device=str(self.runtime.device), processes=self.runtime.processes.count),
            study=self.source,
            models=cards,
            data=data,
            alerts=list(alerts),
            failed=failed,
        )

    def _write(self, report: "Report") -> None:
        assert self.folder is not None  # noqa: S101 - for the type checker
        if self.source:
            self.folder.write_text("study.yaml", self.source)
        self.folder.write_json("environment.json", {**report.meta.environment, "command": report.meta.command})
        self.folder.write_json("meta.json", report.meta.to_dict())
        self.folder.write_json("questions.json", list(report.answers))
        report.save(self.folder.path / "report.html", overwrite=True)  # our own file in our own folder


def explain(
    teacher: nn.Module | None,
    student: Networks | Mapping[str, Networks],
    baseline: Networks,
    data: Any,
    *,
    training: Mapping[str, Any] | None = None,
    questions: Sequence[Question] = DEFAULT_QUESTIONS,
    layers: Layers = "auto",
    class_names: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    device: str = "auto",
    out: str | os.PathLike[str] | None = None,
    title: str | None = None,
    progress: Say | None = None,
) -> "Report":
    """Explain a distillation: what changed between the baseline and the student, and what came from the teacher.

    Args:
        teacher: the teacher, or `None` where it is not at hand.
        student: a network, one per seed, or a mapping of names to either.
        baseline: the student's architecture trained on labels alone; one, or one per seed.
        data: `kdlens.Images`, or a DataLoader or map-style dataset of `(image, label)` or `(image, label, mask)` whose
            images `(C, H, W)` are as the networks take them.
        training: by name (`"baseline"`, `"student"` or the student's name) how it was trained, for questions about
            learning: the folder that `kdlens train` or `kdlens.distill` wrote, or a list of pairs (checkpoint, path
            length); with several networks of a name a list with one for each.
        questions: which questions to answer, each a name or `{name: options}`.
        layers: `"auto"`, dotted layer names, or names per role (`{"teacher": [...], "student": [...]}`).
        class_names: names of the classes, where the dataset has none.
        mean: per-channel mean that was subtracted from the images, so that the report can show them; pictures (PIL,
            uint8, kdlens's own datasets) are normalised with it.
        std: per-channel standard deviation, likewise.
        seed: seed of every random choice.
        batch_size: images a forward pass; `None` estimates it from free memory.
        device: `"auto"` or a torch device name.
        out: run folder to keep answers in; the same call continues where it was stopped.
        title: title of the report.
        progress: called with a short text when something long starts.

    Returns:
        The report: `report.save("report.html")`, `report["unicam"].table`, or show it in a notebook.

    Example:
        >>> import torch, kdlens
        >>> nets = [kdlens.load_model("zoo:cnn8", classes=10) for _ in range(3)]
        >>> data = kdlens.load_dataset("fashion-scenes", count=64)
        >>> report = kdlens.explain(*nets, data, questions=["accuracy"])
        >>> report["accuracy"].value("top1_gain", model="student", seed=0)  # doctest: +SKIP
        0.0
    """
    networks = [Network("teacher", "teacher", teacher)] if teacher is not None else []
    networks += [Network("baseline", "baseline", m, i) for i, m in enumerate(_listed(baseline))]
    named = student if isinstance(student, Mapping) else {"student": student}
    networks += [Network(name, "student", m, i) for name, nets in named.items() for i, m in enumerate(_listed(nets))]
    check_roles(networks)
    networks = with_training(networks, training or {})
    images = as_given(data, mean=mean, std=std, classes=class_names)
    with _where_they_were(networks):
        study = Study(
            networks,
            images,
            questions=questions,
            layers=layers,
            seed=seed,
            batch_size=batch_size,
            device=device,
            out=out,
            title=title,
            say=progress or (lambda text: None),
        )
        return study.run()


def _listed(networks: Networks) -> list[nn.Module]:
    return list(networks) if isinstance(networks, (list, tuple)) else [networks]  # type: ignore[list-item]


@contextlib.contextmanager
def _where_they_were(networks: Sequence[Network]) -> Any:
    """Put every network back on its device afterwards."""
    places = [next((p.device for p in network.module.parameters()), None) for network in networks]
    try:
        yield
    finally:
        for network, place in zip(networks, places, strict=True):
            if place is not None:
                network.module.to(place)


def diagnose(networks: Sequence[Network], images: Images, *, layers: Layers = "auto", seed: int) -> Diagnosis:
    """Run the doctor on teacher, baseline and every student by name, the first seed of each."""
    first = {(network.role, network.name): network.module for network in reversed(networks)}
    by_role = {role: module for (role, _), module in first.items()}
    students = {n.name: first["student", n.name] for n in networks if n.role == "student"}
    return doctor(by_role.get("teacher"), students, by_role.get("baseline"), images, layers=layers, seed=seed)
