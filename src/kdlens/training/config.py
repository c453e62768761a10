"""train.yaml as typed, validated models. Reading one never runs code or opens a connection."""

import os
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kdlens.config import DataSection, Strict, load_yaml

Named = str | dict[str, Any]
"""A name, or a mapping with `name` and options."""


class TrainingData(DataSection):
    """Which images to train on; as in a study, but the training split unless told otherwise."""

    split: str = "train"


class NetworkSection(Strict):
    """A network by name; a bare string is its architecture.

    Attributes:
        arch: `zoo:NAME`, `timm:NAME`, `torchvision:NAME` or `file.py:function` (needs `--allow-code`).
        weights: a safetensors or .pt file; a teacher without weights is trained on the labels first.
        classes: number of classes; `None` takes the dataset's.
        options: further arguments of the architecture.
        vam: put virtual attention in before the weights are loaded: true, or options of `kdlens.nn.insert_vam`.
    """

    arch: str
    weights: str | None = None
    classes: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = Field(default_factory=dict)
    vam: bool | dict[str, Any] | None = None


class RecordSection(Strict):
    """What is kept beside the trained student.

    Attributes:
        epochs: keep the student after these epochs: `none`, `all`, `log` or a list.
        path_layers: layers whose path lengths are recorded: `auto` or dotted names.
        save_every: also store the state every so many updates.
    """

    epochs: Literal["none", "all", "log"] | list[int] = "none"
    path_layers: Literal["auto"] | list[str] = "auto"
    save_every: int | None = Field(default=None, ge=1)


class TrainingConfig(Strict):
    """A whole training, for one seed or several.

    Attributes:
        data: the training images.
        validation: another split of the same data (default: `test`), another dataset, or null for none.
        teacher: needed by most methods.
        student: the network to train.
        chain: instead of teacher and student: the teacher, its assistants, and the student last.
        method: name, or name and options.
        attention: how the attention of a mixture of experts or of `vam` is trained; see `kdlens.distill`.
        seed: seed of weights, order and augmentation.
        seeds: several of them; each gets a folder of its own.

    Example:
        >>> config = TrainingConfig(data={"name": "fashion"}, student="zoo:resnet8", method="labels")
        >>> config.student.arch, config.all_seeds
        ('zoo:resnet8', [0])
    """

    title: str | None = None
    seed: int = 0
    seeds: list[int] | None = Field(default=None, min_length=1)
    data: TrainingData
    validation: str | DataSection | None = "test"
    teacher: NetworkSection | None = None
    student: NetworkSection | None = None
    chain: list[NetworkSection] | None = Field(default=None, min_length=2)
    method: Named = "kd"
    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=1)
    optimizer: Named = "sgd"
    schedule: Named = "cosine"
    attention: dict[str, Any] | None = None
    augment: Literal["none", "flip", "crop-flip"] = "none"
    precision: Literal["no", "bf16", "fp16"] = "no"
    clip: float | None = Field(default=None, gt=0)
    record: RecordSection = Field(default_factory=RecordSection)
    cache_teacher: bool = False
    channels_last: bool | Literal["auto"] = "auto"
    workers: int = Field(default=0, ge=0)
    device: str = "auto"

    @property
    def sections(self) -> list[NetworkSection]:
        """The networks to train or, first in a chain, the teacher."""
        return list(self.chain or ([self.student] if self.student is not None else []))

    @property
    def all_seeds(self) -> list[int]:
        """The seeds to train with."""
        return self.seeds if self.seeds is not None else [self.seed]

    @property
    def method_name(self) -> str:
        """The method's name."""
        return self.method if isinstance(self.method, str) else str(self.method["name"])

    @property
    def method_options(self) -> dict[str, Any]:
        """The method's options."""
        return {} if isinstance(self.method, str) else {k: v for k, v in self.method.items() if k != "name"}

    @field_validator("teacher", "student", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"arch": value} if isinstance(value, str) else value

    @field_validator("chain", mode="before")
    @classmethod
    def _all_by_name(cls, value: Any) -> Any:
        return [{"arch": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @field_validator("method", "optimizer", "schedule")
    @classmethod
    def _has_name(cls, value: Named) -> Named:
        if isinstance(value, dict) and not isinstance(value.get("name"), str):
            raise ValueError("give a name with the options, e.g. {name: sgd, lr: 0.1}")
        return value

    @field_validator("seeds")
    @classmethod
    def _different(cls, value: list[int] | None) -> list[int] | None:
        if value is not None and len(set(value)) < len(value):
            raise ValueError("the same seed twice gives the same network twice")
        return value

    @model_validator(mode="after")
    def _networks(self) -> "TrainingConfig":
        if (self.chain is None) == (self.student is None):
            raise ValueError("give either a student, or a chain whose last network is the student")
        if self.chain is not None and self.teacher is not None:
            raise ValueError("the first network of a chain is the teacher; do not give another")
        return self


def load_training_config(path: str | os.PathLike[str]) -> TrainingConfig:
    """Read a train.yaml.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not fit; every problem is listed with its place.
    """
    return load_yaml(path, TrainingConfig)
