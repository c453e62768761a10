"""The demo: a shortcut in the data, a teacher that never saw it, and what distillation makes of that.

In the training images of the students the background's texture gives the class away four times out of five. The
baseline is trained on their labels. One student is distilled, on the very same images, from a teacher whose own
training images had no such shortcut; another from a teacher that knows nothing but the shortcut. All are explained on
images where the background seldom tells the class, so that whoever relies on it can be seen to fall.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdlens.data.images import Images
from kdlens.data.scenes import FashionScenes
from kdlens.models.load import load_model
from kdlens.models.weights import save_weights
from kdlens.progress import Stages
from kdlens.report import Report
from kdlens.runs import RunFolder
from kdlens.study_file import explain_file
from kdlens.training.api import distill
from kdlens.training.events import Event
from kdlens.training.progress import summarise

SEEDS = 3
SHORTCUT = 0.8
"""Chance that the background follows the class in the students' training images."""

RECORDED = (1, 2, 3, 4, 6)
"""Epochs after which students and baselines are kept, beside their start, so that it can be seen how they learned."""


@dataclass(frozen=True)
class Recipe:
    """How one network of the demo is trained."""

    name: str
    arch: str
    bias: float
    epochs: int
    seeds: int = 1
    recorded: bool = False
    teacher: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


_STUDENT: dict[str, Any] = {"arch": "zoo:smoothcnn8", "bias": SHORTCUT, "epochs": 6, "seeds": SEEDS, "recorded": True}
_KD: dict[str, Any] = {"temperature": 2.0, "alpha": 0.9}

RECIPES = (
    Recipe("teacher", "zoo:smoothcnn24", bias=0.0, epochs=8),
    Recipe("shortcut-teacher", "zoo:smoothcnn16", bias=1.0, epochs=2),
    Recipe("baseline", **_STUDENT),
    Recipe("kd", **_STUDENT, teacher="teacher", options=_KD),
    Recipe("kd-from-shortcut", **_STUDENT, teacher="shortcut-teacher", options=_KD),
)

STUDY = """\
# Written by `kdlens demo`. Explain the same networks again:  kdlens explain demo.yaml -o .
title: Does a student inherit its teacher's eyes?
seed: {seed}
data: {{name: fashion-scenes, split: test, bias: 0.25, seed: {seed}}}
models:
  teacher:
    arch: zoo:smoothcnn24
    weights: models/teacher-{seed}.safetensors
  baseline:
    arch: zoo:smoothcnn8
    weights: {baseline}
    training: {baseline_training}
  students:
    kd:
      arch: zoo:smoothcnn8
      weights: {kd}
      training: {kd_training}
    kd-from-shortcut:
      arch: zoo:smoothcnn8
      weights: {harmful}
      training: {harmful_training}
questions:
  - accuracy
  - reliance
  - unicam
  - relevance
  - knowledge: {{images: 24, gallery: 8}}
  - dynamics: {{images: 24, gallery: 4}}
  - class_similarity
  - conflict
  - dissection: {{images: 400, rotations: 1, gallery: 8}}
"""


def run_demo(out: str | os.PathLike[str], *, seed: int = 0, say: Stages | None = None, images: int = 6000) -> Report:
    """Train the demo's networks, explain them, and write everything into `out`.

    A killed demo continues where it stopped, and a finished one only reads its answers again.

    Args:
        out: folder; new, or of an earlier demo.
        seed: seed of images, training and draws.
        say: told about every stage.
        images: training images; fewer make a quicker, poorer demo.
    """
    say = say or Stages()
    folder = RunFolder(out)
    networks: dict[str, nn.Module] = {}
    for recipe in RECIPES:
        for number in range(recipe.seeds):
            networks[recipe.name] = _trained(recipe, seed + number, folder.path, networks, say, images)
    study = folder.write_text("demo.yaml", _study_text(seed))
    return explain_file(study, out=folder.path, say=say)


def _trained(
    recipe: Recipe, seed: int, out: Path, networks: dict[str, nn.Module], say: Stages, images: int
) -> nn.Module:
    name = f"{recipe.name}-{seed}"
    say(f"training {recipe.name}" + (f" (seed {seed})" if recipe.seeds > 1 else ""))
    scenes = FashionScenes("train", bias=recipe.bias, seed=seed, count=images)

    def listener(event: Event) -> None:
        if event.kind == "epoch":
            say.detail(summarise(event))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = load_model(recipe.arch, classes=len(scenes.classes))
    teacher = networks[recipe.teacher] if recipe.teacher else None
    distill(
        teacher,
        network,
        Images(scenes, mean=scenes.mean, std=scenes.std),
        method="kd" if teacher is not None else "labels",
        epochs=recipe.epochs,
        optimizer={"name": "adam", "lr": 6e-3},
        schedule="one-cycle",
        seed=seed,
        out=out / "training" / name,
        progress=listener,
        cache_teacher=teacher is not None,
        record_epochs=RECORDED if recipe.recorded else "none",
        path_layers="auto" if recipe.recorded else (),
        **recipe.options,
    )
    models = out / "models"
    models.mkdir(exist_ok=True)
    save_weights(network, models / f"{name}.safetensors")
    return network


def _study_text(seed: int) -> str:
    def each(place: str) -> str:
        return "[" + ", ".join(place.format(seed + i) for i in range(SEEDS)) + "]"

    names = {"baseline": "baseline", "kd": "kd", "harmful": "kd-from-shortcut"}
    weights = {key: each(f"models/{name}-{{}}.safetensors") for key, name in names.items()}
    training = {f"{key}_training": each(f"training/{name}-{{}}") for key, name in names.items()}
    return STUDY.format(seed=seed, **weights, **training)
