"""Train what a train.yaml describes: data and networks by name, one folder a seed, and the results beside them.

out/train.yaml        the configuration with all defaults
out/results.json      how good teacher and students are on the validation images
out/earlier/teacher   the teacher, where it was trained here
out/ or out/seed-K/   the trainings (see `kdlens.training.folder`)
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kdlens.config import DataSection
from kdlens.data import load_dataset
from kdlens.data.images import Images
from kdlens.data.sampling import balanced_indices
from kdlens.errors import ConfigError
from kdlens.files import explained, write_atomically
from kdlens.models.load import load_model
from kdlens.processes import Processes
from kdlens.stats.resampling import seed_interval
from kdlens.training.api import distill
from kdlens.training.batches import as_batches
from kdlens.training.chain import distill_chain
from kdlens.training.config import NetworkSection, TrainingConfig, load_training_config
from kdlens.training.evaluation import evaluate
from kdlens.training.events import Listener
from kdlens.training.folder import EARLIER
from kdlens.training.losses import LOSSES
from kdlens.training.losses.self_distillation import SelfDistillation
from kdlens.training.methods import Method
from kdlens.training.precision import make_precision
from kdlens.training.randomness import derive
from kdlens.training.result import TrainResult

SAME = (
    *("epochs", "batch_size", "optimizer", "schedule", "attention", "augment", "precision", "clip"),
    *("cache_teacher", "channels_last", "workers", "device"),
)
"""Settings that the file and `distill` call alike."""


@dataclass(frozen=True, eq=False)
class TrainingRun:
    """What came out of a train.yaml.

    Attributes:
        students: one result a seed.
        teacher: the teacher the (first) student learned from, or None.
        results: the content of results.json: `top1` (%) and `nll` (nats) on the validation images for every seed, their
            mean with a 95 % interval over seeds, and the teacher's.
    """

    students: dict[int, TrainResult]
    teacher: nn.Module | None
    results: dict[str, Any]


def train_from_config(
    config: str | os.PathLike[str] | TrainingConfig,
    out: str | os.PathLike[str],
    *,
    allow_code: bool = False,
    progress: Listener | None = None,
    resume: bool = True,
) -> TrainingRun:
    """Train what a train.yaml describes, and judge it; a killed run continues where it stopped.

    Args:
        config: a file (paths in it are relative to it) or a configuration.
        out: folder for the results.
        allow_code: whether `file.py:function` architectures may run. Only for files you trust.
        progress: told about every step and epoch.
        resume: continue what is in `out`; False throws it away and starts anew.

    Raises:
        ConfigError: the configuration does not describe a training.
        KdlensError: as for `kdlens.distill`.
    """
    if isinstance(config, TrainingConfig):
        return _Run(config, Path.cwd(), Path(out), allow_code, progress, resume).all()
    return _Run(load_training_config(config), Path(config).parent, Path(out), allow_code, progress, resume).all()


class _Run:
    """A configuration on its way to trained networks."""

    def __init__(
        self,
        config: TrainingConfig,
        base: Path,
        out: Path,
        allow_code: bool,
        progress: Listener | None,
        resume: bool,
    ) -> None:
        self.config, self.base, self.out = config, base, out
        self.allow_code, self.progress, self.resume = allow_code, progress, resume
        if config.method_name not in LOSSES:
            LOSSES[config.method_name]  # raises, with the nearest names
        self.processes = Processes(config.device)
        self.images = self._images(config.data)
        self.validation = self._validation()

    def all(self) -> TrainingRun:
        """Train every seed, then judge and write."""
        with explained(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
        if self.processes.is_main:
            self._write("train.yaml", _as_yaml(self.config))
        sections = self.config.sections
        teacher = self._teacher(sections)
        students = {seed: self._seed(seed, teacher, sections) for seed in self.config.all_seeds}
        results = self._judge(students, teacher)
        if self.processes.is_main:
            self._write("results.json", json.dumps(results, indent=1) + "\n")
        return TrainingRun(students, teacher, results)

    def _teacher(self, sections: list[NetworkSection]) -> nn.Module | None:
        """Load the teacher, or train it on the labels; it is the same for all seeds."""
        section = sections.pop(0) if self.config.chain else self.config.teacher
        if section is None:
            return None
        seed = self.config.all_seeds[0]
        teacher = self._network(section, derive(seed, "teacher"))
        if section.weights is None and "pretrained" not in section.options:
            place = self.out / EARLIER / "teacher"
            self._distill(None, teacher, "labels", {"attention": None}, seed, place, "teacher")
        return teacher

    def _seed(self, seed: int, teacher: nn.Module | None, sections: Sequence[NetworkSection]) -> TrainResult:
        config = self.config
        place = self.out if config.seeds is None else self.out / f"seed-{seed}"
        networks = [self._network(section, derive(seed, "student", i)) for i, section in enumerate(sections)]
        title = config.method_name if config.seeds is None else f"{config.method_name} seed {seed}"
        if config.chain and teacher is not None:
            options = {**self._settings(seed, title), **config.method_options}
            return distill_chain([teacher, *networks], self.images, out=place, method=config.method_name, **options)
        method: Method = config.method_name
        options = config.method_options
        if LOSSES[config.method_name] is SelfDistillation:
            rebuild = partial(self._generation, sections[0], seed)
            method, options = SelfDistillation.from_options({**options, "rebuild": rebuild}), {}
        return self._distill(teacher, networks[0], method, options, seed, place, title)

    def _distill(
        self,
        teacher: nn.Module | None,
        student: nn.Module,
        method: Method,
        options: dict[str, Any],
        seed: int,
        place: Path,
        title: str,
    ) -> TrainResult:
        settings = self._settings(seed, title)
        if method == "labels":
            settings["cache_teacher"] = False
        return distill(teacher, student, self.images, out=place, method=method, **{**settings, **options})

    def _settings(self, seed: int, title: str) -> dict[str, Any]:
        config = self.config
        return {
            **{name: getattr(config, name) for name in SAME},
            "seed": seed,
            "title": title,
            "validation": self.validation,
            "record_epochs": config.record.epochs,
            "path_layers": config.record.path_layers,
            "save_every": config.record.save_every,
            "overwrite": not self.resume,
            "progress": self.progress,
        }

    def _generation(self, section: NetworkSection, seed: int, generation: int) -> nn.Module:
        return self._network(section, derive(seed, "generation", generation))

    def _network(self, section: NetworkSection, seed: int) -> nn.Module:
        """Build a network; its random weights depend on the seed alone."""
        file, colon, function = section.arch.rpartition(":")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return load_model(
                f"{self.base / file}{colon}{function}" if file.endswith(".py") else section.arch,
                weights=None if section.weights is None else self.base / section.weights,
                classes=section.classes or len(self.images.classes),
                allow_code=self.allow_code,
                vam=section.vam,
                **{**_channels(section, self.images), **section.options},
            )

    def _images(self, data: DataSection) -> Images:
        root = self.base / data.root if data.root is not None else None
        dataset = load_dataset(data.name, root=root, split=data.split, **data.options)
        mean, std = data.mean or getattr(dataset, "mean", None), data.std or getattr(dataset, "std", None)
        images = Images(dataset, mean=mean, std=std, size=data.size)
        if data.limit is not None and data.limit < len(images):
            images = images.subset(balanced_indices(images.labels, data.limit, seed=0))  # the same for all seeds
        return images

    def _validation(self) -> Images | None:
        chosen = self.config.validation
        if chosen is None:
            return None
        if isinstance(chosen, str):
            chosen = self.config.data.model_copy(update={"split": chosen, "limit": None})
        images = self._images(chosen)
        if images.classes != self.images.classes:
            raise ConfigError("training and validation images have different classes, so one cannot judge the other")
        return images

    def _judge(self, students: dict[int, TrainResult], teacher: nn.Module | None) -> dict[str, Any]:
        if self.validation is None:
            return {"validation": None}
        judge = partial(
            evaluate,
            data=as_batches(self.validation),
            batch_size=256,
            processes=self.processes,
            precision=make_precision(self.config.precision, self.processes.device),
        )
        seeds = {str(seed): judge(result.network) for seed, result in students.items()}
        mean = seed_interval([numbers["top1"] for numbers in seeds.values()])
        results = {
            "validation": {"count": len(self.validation)},
            "students": seeds,
            "top1": {"mean": mean.value, "low": _or_none(mean.low), "high": _or_none(mean.high), "seeds": mean.n},
        }
        return results if teacher is None else {**results, "teacher": judge(teacher.to(self.processes.device))}

    def _write(self, name: str, text: str) -> None:
        with explained(self.out / name):
            write_atomically(self.out / name, text.encode())


def _channels(section: NetworkSection, images: Images) -> dict[str, Any]:
    """The zoo builds for three channels unless told; images of another kind say so."""
    channels = images[0].image.shape[0]
    by_zoo = ":" not in section.arch or section.arch.startswith("zoo:")
    return {"in_channels": channels} if by_zoo and channels != 3 else {}


def _or_none(value: float) -> float | None:
    return value if value == value else None  # NaN is not JSON


def _as_yaml(config: TrainingConfig) -> str:
    import yaml

    content = json.loads(config.model_dump_json())
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
