"""Does distillation make a student more interpretable? The comparison of Han et al. (ICML 2023) on small networks.

python -m benchmarks.interpretability --folder runs --seeds 3      # resumes; a table after every seed
python -m benchmarks.interpretability --scale smoke                # under a minute, means nothing

Students of one seed share first weights and the order of images; every seed has teachers of its own. A measure is a
function from a trained pair of networks to named numbers; to add one, write it and name it in `MEASURES`.
"""

import argparse
import functools
import json
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import kdlens
from benchmarks.measure import table, write
from kdlens.data.cells import Cells
from kdlens.data.scenes import FashionScenes
from kdlens.measures.diffroar import accuracy, diffroar
from kdlens.measures.five_band import SCORES, SOFT, five_band
from kdlens.measures.masked import gradients
from kdlens.stats.resampling import seed_interval
from kdlens.training.batches import as_batches
from kdlens.training.comparison import Preset, interpretability_comparison

OPTIMIZER = {"name": "adam", "lr": 6e-3}
ROARED = ("labels", "kd")
TEACHERS = {
    "teacher": Preset("teacher", "labels"),
    "smoothed teacher": Preset("smoothed teacher", "label-smoothing", {"smoothing": 0.1}),
    "own architecture": Preset("own architecture", "labels"),
}
FIRST_WEIGHTS = {"teacher": 1, "smoothed teacher": 1, "own architecture": 2}  # all students: 0


@dataclass(frozen=True)
class Scale:
    """How large everything is: networks, images and epochs, for scenes, cells and DiffROAR."""

    student: str = "zoo:cnn8"
    teacher: str = "zoo:cnn24"
    scenes: int = 3000
    epochs: int = 8
    cells: int = 2000
    side: int = 32
    cell_epochs: int = 10
    judged: int = 500
    fractions: tuple[float, ...] = (0.2,)
    repeats: int = 3
    roar_epochs: int = 5


SCALES = {
    "smoke": Scale("zoo:cnn4", "zoo:cnn8", 200, 1, 200, 32, 1, 60, (0.3,), 2, 1),
    "small": Scale(),
    "full": Scale("zoo:resnet8", "zoo:resnet20", 6000, 20, 5000, 64, 20, 1000, (0.1, 0.3, 0.5, 0.7, 0.9), 3, 10),
}


@dataclass(frozen=True)
class Trained:
    """A student of the comparison, trained on scenes and again on cells, and the images to judge it on."""

    scenes: nn.Module
    cells: nn.Module
    scale: Scale


def accuracies(student: Trained) -> dict[str, float]:
    """Test accuracy on both, in per cent."""
    tests = {"top1": (student.scenes, "scenes"), "top1 cells": (student.cells, "cells")}
    return {
        name: 100 * accuracy(net, as_batches(images(of, "test", student.scale))) for name, (net, of) in tests.items()
    }


def alignment(student: Trained) -> dict[str, float]:
    """Loss gradient on the garment, in per cent; the area is chance."""
    x, y, masks = images("scenes", "test", student.scale).batch(torch.arange(student.scale.judged))
    found = kdlens.measures.gradient_alignment(student.scenes, x, y, masks)
    return {
        "energy": 100 * found.energy.value,
        "pointing": 100 * found.pointing.value,
        "area (chance)": 100 * found.area.value,
    }


def bands(student: Trained) -> dict[str, float]:
    """Five-band scores of plain saliency, |gradient of the predicted logit|, in per cent; mean over the softenings."""
    batch = torch.arange(student.scale.judged)
    x, y, _ = images("cells", "test", student.scale).batch(batch)
    heat = torch.cat([gradients(student.cells, a, b, "logit") for a, b in zip(x.split(100), y.split(100), strict=True)])
    found = five_band(heat.abs(), raw("cells", "test", student.scale).truths(batch), softening=SOFT)
    numbers = {}
    for name in SCORES:
        means = [getattr(step.images, name).nanmean().item() for step in found.steps]
        numbers[f"5b {name}"] = 100 * sum(means) / len(SOFT)
        numbers[f"5b {name} (chance)"] = 100 * sum(step.chance[name] for step in found.steps) / len(SOFT)
    return numbers


def detectors(student: Trained) -> dict[str, float]:
    """Concept detectors of the last stage, in per cent of its units; chance is under masks dealt to other images."""
    layer = kdlens.auto_layers(student.scenes, raw("scenes", "test", student.scale)[0].image[None])[-1]
    concepts = kdlens.load_concepts("fashion-scenes", count=2 * student.scale.judged)
    counts = kdlens.dissect(student.scenes, concepts, layers=[layer])[layer].counts()
    percent = 100 / counts.units
    return {
        "detectors": percent * counts.total,
        "detectors held out": percent * counts.held_out,
        "detectors (chance)": percent * counts.chance.value,
    }


MEASURES: dict[str, Callable[[Trained], dict[str, float]]] = {
    "accuracy": accuracies,
    "gradient alignment": alignment,
    "five-band": bands,
    "detectors": detectors,
}
"""What is told of every student. Figures are kept by these names, so that a new measure is all that is computed."""


class Comparison:
    """Trains and judges; whatever is finished in the folder is read again."""

    def __init__(self, folder: Path, scale: str) -> None:
        self.folder = folder / scale
        self.scale = SCALES[scale]
        self.folder.mkdir(parents=True, exist_ok=True)

    def network(self, preset: Preset, of: str, seed: int) -> nn.Module:
        """A trained network, in eval mode, and before it its teacher."""
        teacher = None if preset.teacher is None else self.network(TEACHERS[preset.teacher], of, seed)
        arch = self.scale.teacher if FIRST_WEIGHTS.get(preset.name) == 1 else self.scale.student
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(10 * seed + FIRST_WEIGHTS.get(preset.name, 0))
            network = kdlens.load_model(arch, classes=10)
        kdlens.distill(
            teacher,
            network,
            images(of, "train", self.scale),
            method=preset.method,
            epochs=self.scale.epochs if of == "scenes" else self.scale.cell_epochs,
            optimizer=OPTIMIZER,
            schedule="one-cycle",
            seed=seed,
            cache_teacher=preset.method in ("kd", "self-distillation"),
            path_layers=(),
            out=self.folder / of / f"seed-{seed}" / preset.name.replace(" ", "-"),
            **preset.options,
        )
        return network

    def figures(self, preset: Preset, seed: int) -> dict[str, float]:
        """All numbers of one student."""
        numbers: dict[str, float] = {}
        trained: Trained | None = None
        for name, measure in MEASURES.items():
            known = self._known().get(f"{name}/{preset.name}/{seed}")
            if known is None:
                trained = trained or Trained(
                    *(self.network(preset, of, seed) for of in ("scenes", "cells")), self.scale
                )
                known = measure(trained)
                write(self.folder / "figures.json", f"{name}/{preset.name}/{seed}", known)
            numbers |= known
        return numbers

    def roar(self, preset: Preset, seed: int) -> dict[str, float]:
        """DiffROAR of one student at every fraction, in points of accuracy."""
        key = f"DiffROAR/{preset.name}/{seed}"
        if key not in self._known():
            recipe = {"epochs": self.scale.roar_epochs, "optimizer": OPTIMIZER, "schedule": "one-cycle"}
            data = [images("scenes", split, self.scale) for split in ("train", "test")]
            network = self.network(preset, "scenes", seed)
            options = {"fractions": self.scale.fractions, "repeats": self.scale.repeats, "ranking": "pixels"}
            found = diffroar(network, *data, recipe=recipe, **options)
            numbers = {}
            for step in found.steps:
                for name in ("score", "chance"):
                    interval = getattr(step, name)
                    ends = {"value": interval.value, "low": interval.low, "high": interval.high}
                    numbers |= {f"{step.fraction}/{name}/{end}": 100 * value for end, value in ends.items()}
            write(self.folder / "figures.json", key, numbers)
        return self._known()[key]

    def _known(self) -> dict[str, dict[str, float]]:
        path = self.folder / "figures.json"
        return json.loads(path.read_text()) if path.exists() else {}


@functools.cache
def raw(of: str, split: str, scale: Scale) -> Any:
    """Scenes without a bias, or cells."""
    if of == "scenes":
        return FashionScenes(split, bias=0.0, count=scale.scenes if split == "train" else max(scale.judged, 60))
    return Cells(split, size=scale.side, count=scale.cells if split == "train" else max(scale.judged, 60))


@functools.cache
def images(of: str, split: str, scale: Scale) -> kdlens.Images:
    """The same, as the networks take them."""
    data = raw(of, split, scale)
    return kdlens.Images(data, mean=data.mean, std=data.std)


def shown(values: list[float]) -> str:
    """Mean over seeds and its interval."""
    found = seed_interval([value for value in values if math.isfinite(value)] or [math.nan])
    return f"{found.value:.1f}" + ("" if math.isnan(found.low) else f" [{found.low:.1f}, {found.high:.1f}]")


def tables(found: dict[str, list[dict[str, float]]]) -> str:
    """The numbers of every student, and how much they differ from labels alone, seed by seed."""
    names = list(next(iter(found.values()))[0])
    seeds = len(next(iter(found.values())))
    rows = [[name, *(shown([one[column] for one in ones]) for column in names)] for name, ones in found.items()]
    text = f"\n{seeds} seed(s): mean [95 % interval over seeds, Student's t]\n\n{table(['student', *names], rows)}\n"
    if "labels" not in found or seeds < 2:
        return text
    kept = [name for name in names if "chance" not in name]
    rows = [
        [name, *(shown([one[c] - plain[c] for one, plain in zip(ones, found["labels"], strict=True)]) for c in kept)]
        for name, ones in found.items()
        if name != "labels"
    ]
    return f"{text}\nless `labels` of the same seed\n\n{table(['student', *kept], rows)}\n"


def roar_table(found: dict[str, dict[str, float]], scale: Scale) -> str:
    """DiffROAR and its chance."""
    rows = []
    for name, numbers in found.items():
        for fraction in scale.fractions:
            cells = [
                "{:.1f} [{:.1f}, {:.1f}]".format(
                    *(numbers[f"{fraction}/{kind}/{end}"] for end in ("value", "low", "high"))
                )
                for kind in ("score", "chance")
            ]
            rows.append([name, f"{fraction:.0%}", *cells])
    head = ["student (seed 0)", "kept", "DiffROAR, points", "random ranking"]
    return f"\n{scale.repeats} trainings each, whole pixels ranked: mean [95 % interval]\n\n{table(head, rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="keep networks and figures here, and go on from them")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument("--student", action="append", choices=[p.name for p in interpretability_comparison()])
    parser.add_argument("--no-diffroar", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run(Comparison(arguments.folder or Path(folder), arguments.scale), arguments)


def run(comparison: Comparison, arguments: argparse.Namespace) -> None:
    presets = [p for p in interpretability_comparison() if p.name in (arguments.student or [p.name])]
    found: dict[str, list[dict[str, float]]] = {preset.name: [] for preset in presets}
    for seed in range(arguments.seeds):
        for preset in presets:
            found[preset.name].append(comparison.figures(preset, seed))
            print(f"seed {seed}: {preset.name}", flush=True)
        print(tables(found), flush=True)
    if not arguments.no_diffroar:
        roared = {preset.name: comparison.roar(preset, 0) for preset in presets if preset.name in ROARED}
        print(roar_table(roared, comparison.scale), flush=True)


if __name__ == "__main__":
    main()
