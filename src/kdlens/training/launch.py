"""Everything about a training except its networks and its method, and how it is set off."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from kdlens.environment import environment
from kdlens.processes import Processes
from kdlens.training.augment import Augmentation
from kdlens.training.batches import ImageBatches, TensorBatches
from kdlens.training.events import Listener
from kdlens.training.fingerprints import describe_task
from kdlens.training.folder import EARLIER, TrainingFolder
from kdlens.training.losses import Loss
from kdlens.training.paths import choose_path_layers, layer_weights
from kdlens.training.result import TrainResult
from kdlens.training.settings import Settings
from kdlens.training.trainer import Task, Trainer
from kdlens.training.two_stages import train_two_stages


@dataclass(frozen=True, eq=False)
class Launch:
    """A training that waits for its networks.

    Attributes:
        settings: how it runs.
        data: the training images.
        validation: images to judge the student on, or None.
        augmentation: changes training images, or None.
        path_layers: layers whose paths are recorded, or `"auto"`.
        out: folder to store it in, or None.
        overwrite: throw away an earlier training there.
        device: `"auto"` or a torch device name.
        title: what to call it; None: the method's name.
        listener: told about its progress.
    """

    settings: Settings
    data: TensorBatches | ImageBatches
    validation: TensorBatches | ImageBatches | None = None
    augmentation: Augmentation | None = None
    path_layers: Literal["auto"] | Sequence[str] = "auto"
    out: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    title: str | None = None
    listener: Listener | None = None

    def train(self, teacher: nn.Module | None, student: nn.Module, loss: Loss) -> TrainResult:
        """Train `student`, in one stage or in two, or take it from the folder where that is finished."""
        two = (self.settings.attention or {}).get("stages") == 2
        return train_two_stages(self, teacher, student, loss) if two else self.train_once(teacher, student, loss)

    def train_once(self, teacher: nn.Module | None, student: nn.Module, loss: Loss) -> TrainResult:
        """Train `student` in one stage."""
        processes = Processes(self.device)
        loss.plan(self.settings.epochs)
        layers = self._path_layers(student.to(processes.device), processes.device)
        folder = self._folder(describe_task(student, teacher, loss, self.data, self.settings, layers), processes)
        task = Task(
            student=student,
            teacher=teacher,
            loss=loss,
            data=self.data,
            validation=self.validation,
            augmentation=self.augmentation,
            path_layers=layers,
            title=self.title or loss.name,
        )
        trainer = Trainer(task, self.settings, processes, folder=folder, listener=self.listener)
        trainer.fit()
        return TrainResult(student, trainer.history, self.out, trainer.paths.result(), loss)

    def earlier(self, name: str, *, seed: int) -> "Launch":
        """Return the launch of a training that this one will build on, in a folder below its own."""
        out = None if self.out is None else self.out / EARLIER / name
        return replace(self, settings=replace(self.settings, seed=seed), out=out, title=name)

    def _path_layers(self, student: nn.Module, device: torch.device) -> tuple[str, ...]:
        if self.path_layers == "auto":
            return choose_path_layers(student, self.data.batch(torch.tensor([0]))[0].to(device))
        for name in self.path_layers:
            layer_weights(student, name)
        return tuple(self.path_layers)

    def _folder(self, settings: dict[str, object], processes: Processes) -> TrainingFolder | None:
        if self.out is None or not processes.is_main:
            return None
        made_with = environment(device=str(processes.device), processes=processes.count)
        return TrainingFolder(self.out, settings, made_with, overwrite=self.overwrite)
