"""The training loop: teacher, student, step; record; store; and continue exactly where it was killed."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kdlens.models.training_files import PATH_LENGTHS
from kdlens.processes import Processes
from kdlens.training.attention import AttentionCourse
from kdlens.training.augment import Augmentation
from kdlens.training.batches import Batches, epoch_order, fetch, shard, split, steps_per_epoch
from kdlens.training.course import Course
from kdlens.training.evaluation import evaluate
from kdlens.training.events import Event, Listener
from kdlens.training.failures import explained_failures
from kdlens.training.folder import TrainingFolder
from kdlens.training.layout import choose_layout, set_layout
from kdlens.training.losses import Loss
from kdlens.training.objective import Objective, check_labels
from kdlens.training.optimizers import make_optimizer
from kdlens.training.paths import PathRecorder
from kdlens.training.precision import make_precision, make_scaler
from kdlens.training.randomness import derive, generator, own_global_randomness, seed_global
from kdlens.training.schedules import make_schedule
from kdlens.training.settings import Settings
from kdlens.training.state import (
    State,
    optimizer_notes,
    optimizer_tensors,
    prefixed,
    restore_module,
    restore_optimizer,
    under,
)
from kdlens.training.teaching import Teacher
from kdlens.training.watch import Watch, check_finite_weights, step_numbers


@dataclass(frozen=True, eq=False)
class Task:
    """What is trained on what.

    Attributes:
        student: the network to train; it is changed in place.
        teacher: a frozen network, or None.
        loss: the method.
        data: the training images.
        validation: images to judge the student on after every epoch, or None.
        augmentation: changes training images, or None.
        path_layers: layers whose paths are recorded.
        title: what to call this training in events.
    """

    student: nn.Module
    teacher: nn.Module | None
    loss: Loss
    data: Batches
    validation: Batches | None = None
    augmentation: Augmentation | None = None
    path_layers: Sequence[str] = ()
    title: str = "training"


class _Part(NamedTuple):
    """What this process takes of a batch."""

    whole: int
    mine: slice
    indices: Tensor
    share: float


class Trainer:
    """Trains a student.

    Args:
        task: networks, method and images.
        settings: how.
        processes: who takes part.
        folder: where to store, or None. Only the first process has one.
        listener: told about every step and epoch.
    """

    def __init__(
        self,
        task: Task,
        settings: Settings,
        processes: Processes,
        *,
        folder: TrainingFolder | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.task, self.settings, self.processes = task, settings, processes
        self.folder = folder
        self._listener = listener
        self._precision = make_precision(settings.precision, processes.device)
        self._scaler = make_scaler(settings.precision, processes.device)
        self._steps = steps_per_epoch(len(task.data), settings.batch_size)
        self._factor = make_schedule(settings.schedule, settings.epochs, self._steps)
        self._watch = Watch()
        self._epoch = self._step = 0
        self.history: list[dict[str, float]] = []

    def fit(self) -> None:
        """Train to the end, from the start or from the state in the folder."""
        with own_global_randomness(), contextlib.ExitStack() as until_done:
            self._prepare(until_done)
            self._restore()
            if self.settings.cache_teacher and self._epoch < self.settings.epochs:
                self.teacher.remember(self.task.data, max(128, self.settings.batch_size), self.processes.device)
            unused = self.task.loss.unused_parameters or self._attention.unused_parameters
            self._wrapped = self.processes.synchronised(self.objective, unused_parameters=unused)
            self._tell("start")
            with explained_failures(self.settings.batch_size, self.processes.count):
                while self._epoch < self.settings.epochs:
                    self._run_epoch()
        self._finish()

    def _prepare(self, until_done: contextlib.ExitStack) -> None:
        """Put everything in place; the student's weights are not changed."""
        task, device = self.task, self.processes.device
        networks = [network.to(device) for network in (task.student, task.teacher) if network is not None]
        images, labels = (x.to(device) for x in task.data.batch(torch.arange(min(2, len(task.data)))))
        self._layout = choose_layout(self.settings.channels_last, networks, images)
        until_done.callback(set_layout, networks, torch.contiguous_format)
        images = self._on_device(images)
        layers = task.loss.layers(task.student, task.teacher or task.student, images[:1])
        teacher = Teacher(task.teacher, layers.teacher, self._precision, spatial=task.loss.spatial)
        self.teacher = until_done.enter_context(teacher)
        self._attention = AttentionCourse(task.student, self.settings.attention, self.settings.epochs)
        self.objective = Objective(task.student, task.loss, layers.student, self._precision, self._attention.penalty)
        until_done.callback(self.objective.close)
        seed_global(derive(self.settings.seed, "method"))
        classes = self.objective.build(images, labels, self.teacher.say(images))
        check_labels(task.data.labels, classes)
        self._optimizer = make_optimizer(self.settings.optimizer, self._attention.groups(self.objective))
        self._base_rates = [group["lr"] for group in self._optimizer.param_groups]
        phases = task.loss.phases(self.settings.epochs)
        self._course = Course(phases, task.student, self._factor, self._steps)
        until_done.callback(self._course.leave)
        self.paths = PathRecorder(task.student, task.path_layers)

    def _run_epoch(self) -> None:
        started = time.perf_counter()
        self._course.enter(self._epoch)
        self._attention.enter(self._epoch)
        order = epoch_order(len(self.task.data), seed=self.settings.seed, epoch=self._epoch)
        parts = [self._part(indices) for indices in split(order, self.settings.batch_size)[self._step :]]
        loaded = self._load(parts)
        for part in parts:
            self._update(part, *next(loaded))
            self._step += 1
            self._tell("step", {"loss": self._watch.last_loss})
            self._maybe_save()
        self.paths.after_epoch()
        self._end_epoch(time.perf_counter() - started)

    def _load(self, parts: Sequence[_Part]) -> Iterator[tuple[Tensor, Tensor]]:
        seeds = [self._place("data", self._step + ahead) for ahead in range(len(parts))]
        asked = [(seed, part.indices) for seed, part in zip(seeds, parts, strict=True)]
        return fetch(self.task.data, asked, workers=self.settings.workers)

    def _part(self, indices: Tensor) -> _Part:
        """Share a batch out. A process that gets none of it runs one image, which counts nothing, to keep in step."""
        mine = shard(len(indices), self.processes.rank, self.processes.count)
        taken = indices[mine]
        share = len(taken) / len(indices)
        if len(taken) == 0:
            mine, taken = slice(0, 1), indices[:1]
        return _Part(len(indices), mine, taken, share)

    def _update(self, part: _Part, images: Tensor, labels: Tensor) -> None:
        seed_global(self._place("step", self._step))
        if self.task.augmentation is not None:
            random = generator(self.settings.seed, "augment", self._epoch, self._step)
            drawn = self.task.augmentation.draw(part.whole, random)
            images = self.task.augmentation.apply(images, drawn[part.mine])
        images, labels = self._on_device(images), labels.to(self.processes.device)
        taught = self.teacher(images, part.indices)
        terms, logits = self._wrapped(images, labels, taught, self._epoch)
        self._descend(sum(terms.values()) * (part.share * self.processes.count))
        numbers = self.processes.total(step_numbers(terms, logits, labels, part.share))
        self._watch.see(self._epoch, self._step, list(terms), numbers, part.whole)

    def _descend(self, loss: Tensor) -> None:
        for group, base in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = self._course.lr(base, self._epoch, self._step, own=group.get("own_lr", False))
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        if self.settings.clip is not None:
            self._scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self.objective.parameters(), self.settings.clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.paths.after_step()

    def _end_epoch(self, seconds: float) -> None:
        self._settle()
        row = {"epoch": self._epoch + 1, "lr": self._optimizer.param_groups[0]["lr"], **self._watch.means()}
        row |= self._attention.row()
        if self.task.validation is not None:
            judged = evaluate(
                self.task.student,
                self.task.validation,
                batch_size=self.settings.batch_size,
                processes=self.processes,
                precision=self._precision,
            )
            row |= {f"validation_{name}": value for name, value in judged.items()}
        self.history.append({**row, "seconds": seconds})
        self._epoch, self._step, self._watch = self._epoch + 1, 0, Watch()
        self._tell("epoch", self.history[-1])
        if self.folder is not None:
            if self._epoch in self.settings.record_epochs:
                self.folder.save_checkpoint(self._epoch, self.task.student)
            self.folder.save_state(self._state())
            self._save_tables(self.folder)

    def _settle(self) -> None:
        """Check what was computed before it is stored; on every process, so that a divergence stops all of them."""
        self._watch.settle()
        check_finite_weights(self.task.student, self._epoch)

    def _maybe_save(self) -> None:
        every = self.settings.save_every
        if every and self._step % every == 0 and self._step < self._steps:
            self._settle()
            if self.folder is not None:
                self.folder.save_state(self._state())

    def _finish(self) -> None:
        self.task.student.eval()
        if self.folder is not None and not self.folder.finished:
            self.folder.save_student(self.task.student)
            self.folder.save_state(self._final_state())
        self.processes.wait()
        self._tell("end")

    def _save_tables(self, folder: TrainingFolder) -> None:
        folder.save_table("history.csv", self.history)
        if self.task.path_layers:
            folder.save_table(PATH_LENGTHS, self.paths.result().rows())

    def _state(self) -> State:
        middle = dict(enumerate(self.paths.tensors())) if self._step else {}
        tensors = {
            **prefixed("student", self.task.student.state_dict()),
            **prefixed("loss", self.task.loss.state_dict()),
            **prefixed("optimizer", optimizer_tensors(self._optimizer)),
            **prefixed("start", {str(i): tensor for i, tensor in middle.items()}),
        }
        notes = {
            **self._notes(),
            "optimizer": optimizer_notes(self._optimizer),
            "watch": self._watch.state(),
            "scaler": self._scaler.state_dict(),
        }
        return State(self._epoch, self._step, notes, tensors)

    def _final_state(self) -> State:
        """What a finished training is asked for: history, paths, and what the method learned itself."""
        return State(self._epoch, 0, self._notes(), prefixed("loss", self.task.loss.state_dict()))

    def _notes(self) -> dict[str, Any]:
        return {"history": self.history, "paths": self.paths.state()}

    def _restore(self) -> None:
        """Continue from the stored state; at the very start, store the beginning."""
        state = self.processes.share(self.folder.load_state() if self.folder is not None else None)
        if state is None:
            if self.folder is not None:
                self.folder.save_checkpoint(0, self.task.student)
            return
        restore_module(self.task.student, under("student", state.tensors))
        restore_module(self.task.loss, under("loss", state.tensors))
        if "optimizer" in state.notes:  # a finished training keeps none
            restore_optimizer(self._optimizer, state.notes["optimizer"], under("optimizer", state.tensors))
            self._scaler.load_state_dict(state.notes["scaler"])
            self._watch.restore(state.notes["watch"])
        self.history = state.notes["history"]
        self._epoch, self._step = state.epoch, state.step
        start = under("start", state.tensors)
        self.paths.restore(state.notes["paths"], [start[str(i)] for i in range(len(start))])
        if self._epoch:
            self._attention.enter(min(self._epoch, self.settings.epochs - 1))  # what was reached, if nothing is left
        if self.folder is not None:
            self._save_tables(self.folder)  # a kill may have come between the state and its tables

    def _on_device(self, images: Tensor) -> Tensor:
        return images.to(self.processes.device, memory_format=self._layout)

    def _place(self, purpose: str, step: int) -> int:
        return derive(self.settings.seed, purpose, self._epoch, step, self.processes.rank)

    def _tell(self, kind: Any, values: dict[str, float] | None = None) -> None:
        if self._listener is not None and self.processes.is_main:
            task, settings = self.task, self.settings
            self._listener(Event(kind, task.title, self._epoch, settings.epochs, self._step, self._steps, values or {}))
