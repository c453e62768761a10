"""A second demo: students whose classes share experts, taught by labels or by a teacher, and who reads which expert.

The students are mixtures of experts (`kdlens.nn.HME`): every class is a yes-no task with a route of its own through
shared experts. They learn photographs of clothes, whose classes fall into groups that anybody can tell.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdlens.data.fashion import Fashion
from kdlens.data.images import Images
from kdlens.models.load import load_model
from kdlens.models.weights import save_weights
from kdlens.progress import Stages
from kdlens.report import Report
from kdlens.runs import RunFolder
from kdlens.study_file import explain_file
from kdlens.training.api import distill
from kdlens.training.progress import summarise

SEEDS = 2
TEACHER, STUDENT = "zoo:cnn32", "zoo:hme_smoothcnn16"
ATTENTION: dict[str, Any] = {"lr": 0.03, "temperature": {"start": 2.0, "end": 0.5}}
"""Soft at first, so that every expert is tried; alike for both, since entropies compare at one temperature only."""

STUDY = """\
# Written by `kdlens demo --experts`. Explain the same networks again:  kdlens explain experts.yaml -o .
title: Who shares an expert with whom?
seed: {seed}
data: {{name: fashion, split: test}}
models:
  teacher: {{arch: "{teacher}", weights: models/teacher.safetensors, options: {{in_channels: 1}}}}
  baseline: {{arch: "{student}", weights: [{baseline}], options: {{in_channels: 1}}}}
  students:
    kd: {{arch: "{student}", weights: [{kd}], options: {{in_channels: 1}}}}
questions:
  - accuracy
  - conflict:
      groups:
        - [T-shirt/top, Pullover, Dress, Coat, Shirt]
        - [Sandal, Sneaker, Ankle boot]
        - [Trouser]
        - [Bag]
"""


def run_experts(
    out: str | os.PathLike[str], *, seed: int = 0, say: Stages | None = None, images: int = 6000, epochs: int = 6
) -> Report:
    """Train a teacher and mixtures of experts with and without it, and explain how they settle conflicts.

    A killed demo continues where it stopped.

    Args:
        out: folder; new, or of an earlier demo of experts.
        seed: seed of training and draws.
        say: told about every stage.
        images: training images; fewer make a quicker, poorer demo.
        epochs: of the students.
    """
    say = say or Stages()
    folder = RunFolder(out)
    (folder.path / "models").mkdir(exist_ok=True)
    dataset = Fashion("train")
    data = Images(dataset, mean=dataset.mean, std=dataset.std).subset(torch.arange(images))
    train = partial(_trained, out=folder.path, data=data, say=say)
    teacher = train(None, TEACHER, "labels", name="teacher", seed=seed, epochs=max(1, epochs // 2))
    for one in range(seed, seed + SEEDS):
        train(None, STUDENT, "binary-labels", name=f"baseline-{one}", seed=one, epochs=epochs, attention=ATTENTION)
        train(teacher, STUDENT, "binary-kd", name=f"kd-{one}", seed=one, epochs=epochs, attention=ATTENTION)
    study = folder.write_text("experts.yaml", _study_text(seed))
    return explain_file(study, out=folder.path, say=say)


def _trained(
    teacher: nn.Module | None,
    arch: str,
    method: str,
    *,
    name: str,
    seed: int,
    out: Path,
    data: Images,
    say: Stages,
    **settings: Any,
) -> nn.Module:
    say(f"training {name}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = load_model(arch, classes=len(data.classes), in_channels=1)
    distill(
        teacher,
        network,
        data,
        method=method,
        optimizer={"name": "adam", "lr": 6e-3},
        schedule="one-cycle",
        seed=seed,
        out=out / "training" / name,
        progress=lambda event: say.detail(summarise(event)) if event.kind == "epoch" else None,
        cache_teacher=teacher is not None,
        path_layers=(),
        **settings,
    )
    save_weights(network, out / "models" / f"{name}.safetensors")
    return network


def _study_text(seed: int) -> str:
    def each(name: str) -> str:
        return ", ".join(f"models/{name}-{seed + i}.safetensors" for i in range(SEEDS))

    return STUDY.format(seed=seed, teacher=TEACHER, student=STUDENT, baseline=each("baseline"), kd=each("kd"))
