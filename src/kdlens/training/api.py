"""`kdlens.distill`: train a network on labels, or with a teacher."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn

from kdlens.models.given import require_network
from kdlens.training.attention import resolve_attention
from kdlens.training.augment import Transform, make_augmentation
from kdlens.training.batches import as_batches
from kdlens.training.events import Listener
from kdlens.training.generations import train_generations
from kdlens.training.launch import Launch
from kdlens.training.losses import Loss
from kdlens.training.losses.self_distillation import SelfDistillation
from kdlens.training.methods import Method, check_networks, make_method
from kdlens.training.optimizers import resolve_optimizer
from kdlens.training.result import TrainResult
from kdlens.training.schedules import resolve_schedule
from kdlens.training.settings import RecordEpochs, Settings, epochs_to_record


def distill(
    teacher: nn.Module | None,
    student: nn.Module,
    train_data: Any,
    *,
    method: Method = "kd",
    epochs: int = 30,
    batch_size: int = 64,
    optimizer: str | Mapping[str, Any] = "sgd",
    schedule: str | Mapping[str, Any] = "cosine",
    attention: Mapping[str, Any] | None = None,
    augment: str | Transform | None = "none",
    precision: str = "no",
    clip: float | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    validation: Any = None,
    record_epochs: RecordEpochs = "none",
    path_layers: Literal["auto"] | Sequence[str] = "auto",
    save_every: int | None = None,
    cache_teacher: bool = False,
    channels_last: bool | Literal["auto"] = "auto",
    workers: int = 0,
    device: str = "auto",
    title: str | None = None,
    progress: Listener | None = None,
    **method_options: Any,
) -> TrainResult:
    """Train `student` in place, on the labels and, if the method wants one, with a teacher.

    The same call continues a training that was killed, to the same result bit by bit (on one thread, without a GPU),
    and returns at once where it is finished. Under `torchrun` or `accelerate launch` the batch is shared out over the
    processes; BatchNorm then sees the images of its own process only.

    Args:
        teacher: a trained network, or None for methods that need none. It comes back as it was.
        student: the network to train, from the weights it has.
        train_data: `kdlens.Images`, any map-style dataset or DataLoader, or a pair of tensors `(images, labels)`.
        method: a name from `kdlens methods`, a `Loss` class, or a `Loss`.
        epochs: passes over the data.
        batch_size: images an update, all processes together. A last batch of one image joins the one before it.
        optimizer: `"sgd"`, `"adam"`, `"adamw"`, or `{"name": "sgd", "lr": 0.1, ...}`.
        schedule: `"constant"`, `"cosine"`, `"step"`, `"one-cycle"`, or with options: `{"name": "step", "warmup": 5}`.
        attention: how the attention of a student with `kdlens.nn.HME` or virtual attention is trained, under any
            method: `{"entropy": 0.1, "lr": 0.01, "weight_decay": 0.0, "from_epoch": 2, "temperature": {"start": 5.0,
            "end": 0.1}}`, each option alone too; see `kdlens.training.attention.resolve_attention`. None: as all other
            weights, but without weight decay.
        augment: `"none"`, `"flip"`, `"crop-flip"`, or a function `(images, generator) -> images` on whole batches.
        precision: `"no"`, `"bf16"` or `"fp16"`.
        clip: largest norm of the gradient.
        seed: seed of order, augmentation, dropout and the method's own parameters. The student's first weights are the
            caller's business.
        out: folder to store state, history and the student in; without one nothing is written.
        overwrite: throw away an earlier training in `out`.
        validation: images to judge the student on after every epoch.
        record_epochs: keep the student after these epochs: `"none"`, `"all"`, `"log"`, or a list.
        path_layers: layers whose path lengths are recorded: `"auto"`, dotted names, or `()`.
        save_every: also store the state every so many updates.
        cache_teacher: compute the teacher's outputs once and remember them by image; not with augmentation.
        channels_last: use the channels-last memory layout; `"auto"`: on CPUs, where the networks allow it.
        workers: processes that read images ahead; 0 suits data in memory.
        device: `"auto"` or a torch device name.
        title: what to call the training in progress displays.
        progress: called with an `Event` at every step and epoch.
        method_options: options of the method, e.g. `temperature=2.0`.

    Returns:
        The trained student (the same object, in eval mode), its history and path lengths.

    Raises:
        ConfigError: options that make no sense, or a missing teacher.
        UnknownNameError: an unknown method, optimizer, schedule or layer.
        ModelError: teacher and student name different numbers of classes, or give no logits.
        DataError: images or labels that cannot be used.
        LayerShapeError: the method reads a layer that does not suit it.
        RunFolderError: `out` holds something else or a training with other settings, or cannot be written.
        TrainingDivergedError: the loss is no number any more.

    Example:
        >>> import torch
        >>> data = (torch.rand(8, 1, 4, 4), torch.arange(8) % 2)
        >>> teacher, student = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2)) for _ in range(2))
        >>> result = distill(teacher, student, data, method="kd", epochs=2, temperature=2.0, path_layers=["1"])
        >>> len(result.history), result.path_lengths.layers
        (2, ('1',))
    """
    settings = Settings(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=resolve_optimizer(optimizer),
        schedule=resolve_schedule(schedule, epochs),
        augment=getattr(make_augmentation(augment), "name", "none"),
        precision=precision,
        clip=clip,
        seed=seed,
        record_epochs=epochs_to_record(record_epochs, epochs),
        cache_teacher=cache_teacher,
        channels_last=channels_last,
        save_every=save_every,
        workers=workers,
        attention=resolve_attention(attention, require_network(student, "student"), epochs),
    )
    launch = Launch(
        settings=settings,
        data=as_batches(train_data),
        validation=None if validation is None else as_batches(validation),
        augmentation=make_augmentation(augment),
        path_layers=path_layers,
        out=None if out is None else Path(out),
        overwrite=overwrite,
        device=device,
        title=title,
        listener=progress,
    )
    return _train(launch, teacher, student, make_method(method, method_options))


def _train(launch: Launch, teacher: nn.Module | None, student: nn.Module, loss: Loss) -> TrainResult:
    if isinstance(loss, SelfDistillation):
        return train_generations(launch, student, loss, teacher=teacher)
    return launch.train(check_networks(loss, teacher, student), student, loss)
