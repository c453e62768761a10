"""study.yaml as typed, validated models. A configuration is data: reading one never runs code or opens a connection."""

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kdlens.errors import ConfigError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)
Question = str | dict[str, dict[str, Any]]


class Strict(BaseModel):
    """Base of all sections: an unknown key is an error, not a silent no-op."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataSection(BaseModel):
    """Which images. Keys beyond those below go to the dataset's reader, which refuses what it does not know.

    Attributes:
        name: a registered dataset; `kdlens methods` lists them.
        root: folder of the dataset, relative to the study file.
        split: which split to explain.
        mean: per-channel mean the networks were trained with; `None` takes the dataset's own.
        std: per-channel standard deviation, likewise.
        size: side length to resize to, or `None` to leave images as they are.
        limit: use a class-balanced, seeded part of at most this many images.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    root: str | None = None
    split: str = "test"
    mean: list[float] | None = None
    std: list[float] | None = None
    size: int | tuple[int, int] | None = None
    limit: int | None = Field(default=None, ge=8)

    @property
    def options(self) -> dict[str, Any]:
        """Options of the dataset's reader."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _mean_with_std(self) -> "DataSection":
        if (self.mean is None) != (self.std is None):
            raise ValueError("give both mean and std, or neither")
        if self.std is not None and any(s <= 0 for s in self.std):
            raise ValueError("std must be positive")
        return self


class ModelSection(Strict):
    """One network, or one per seed where `weights` is a list.

    Attributes:
        arch: `zoo:NAME`, `timm:NAME`, `torchvision:NAME` or `file.py:function` (needs `--allow-code`).
        weights: a safetensors or .pt file, or one for every seed.
        classes: number of classes; `None` takes the dataset's.
        options: further arguments of the architecture.
        vam: put virtual attention in before the weights are loaded: true, or options of `kdlens.nn.insert_vam`.
        training: folder of its training, or one for every seed, for questions about how it learned.
    """

    arch: str
    weights: str | list[str]
    classes: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = {}
    vam: bool | dict[str, Any] | None = None
    training: str | list[str] | None = None

    @property
    def training_folders(self) -> list[str] | None:
        """The folders of the trainings, one per seed; None where none is named."""
        return [self.training] if isinstance(self.training, str) else self.training

    @property
    def weight_files(self) -> list[str]:
        """The weight files, one per seed."""
        return [self.weights] if isinstance(self.weights, str) else list(self.weights)

    @field_validator("weights")
    @classmethod
    def _some(cls, value: str | list[str]) -> str | list[str]:
        if not value:
            raise ValueError("names no weights file")
        return value

    @model_validator(mode="after")
    def _one_training_each(self) -> "ModelSection":
        weights, folders = len(self.weight_files), self.training_folders
        if folders is not None and len(folders) != weights:
            files = f"{weights} weights file{'s' * (weights != 1)}"
            raise ValueError(f"names {files} and {len(folders)} of training; give one folder each, in the same order")
        return self


class ModelsSection(Strict):
    """The networks of a study."""

    teacher: ModelSection | None = None
    baseline: ModelSection
    students: dict[str, ModelSection] = Field(min_length=1)

    @field_validator("students")
    @classmethod
    def _not_a_role(cls, value: dict[str, ModelSection]) -> dict[str, ModelSection]:
        for name in value:
            if name in ("teacher", "baseline") or not name.strip():
                raise ValueError(f'a student cannot be called "{name}"')
        return value


class StudyConfig(Strict):
    """A whole study.

    Attributes:
        title: title of the report.
        seed: seed of every random choice.
        data: the images.
        models: the networks.
        layers: `auto`, dotted names for all networks, or names per role.
        questions: names, or one `{name: options}` each.
        batch_size: images a forward pass; by default estimated from free memory.
        device: `auto` or a torch device name.
        doctor: run the doctor first and put what it finds into the report's alerts.

    Example:
        >>> weights = {"arch": "zoo:resnet8", "weights": "a.safetensors"}
        >>> study = StudyConfig(data={"name": "fashion"}, models={"baseline": weights, "students": {"kd": weights}})
        >>> study.questions
        ['accuracy', 'unicam', 'relevance', 'reliance']
    """

    title: str | None = None
    seed: int = 0
    data: DataSection
    models: ModelsSection
    layers: Literal["auto"] | list[str] | dict[str, list[str]] = "auto"
    questions: list[Question] = Field(default=["accuracy", "unicam", "relevance", "reliance"], min_length=1)
    batch_size: int | None = Field(default=None, ge=1)
    device: str = "auto"
    doctor: bool = False

    @field_validator("questions")
    @classmethod
    def _one_name_each(cls, value: list[Question]) -> list[Question]:
        for entry in value:
            if isinstance(entry, dict) and len(entry) != 1:
                raise ValueError("write a question with options as one entry, e.g. `- unicam: {features: flat}`")
        return value

    @field_validator("layers")
    @classmethod
    def _roles(cls, value: Any) -> Any:
        if isinstance(value, dict) and (unknown := set(value) - {"teacher", "baseline", "student"}):
            raise ValueError(f"layers are given per role (teacher, baseline, student), not {sorted(unknown)}")
        return value


def question_options(entry: Question) -> tuple[str, dict[str, Any]]:
    """Split an entry of `questions` into name and options.

    Example:
        >>> question_options({"unicam": {"features": "flat"}})
        ('unicam', {'features': 'flat'})
    """
    if isinstance(entry, str):
        return entry, {}
    [(name, options)] = entry.items()
    return name, dict(options or {})


def load_yaml(path: str | os.PathLike[str], model: type[Model]) -> Model:
    """Read a YAML file into `model`, with errors a person can act on.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not fit; every problem is listed with its place.
    """
    import yaml

    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if content is None:
        raise ConfigError(f"{path} is empty; `kdlens init` writes a file to start from")
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list) else f"{content!r:.80}"
        raise ConfigError(f"{path} must hold a mapping (key: value), not {kind}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}:\n{_plainly(error, model, content)}") from error


def _plainly(error: ValidationError, model: type[BaseModel], content: Any) -> str:
    """One line for each place where something is wrong, whatever forms a value could have had there."""
    places: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in _place(problem["loc"], content)) or "file"
        text = plain_problem(problem)
        if problem["type"] == "extra_forbidden":
            text = "unknown key" + did_you_mean(str(problem["loc"][-1]), _keys_beside(model, problem["loc"]))
        places.setdefault(place, []).append(text)
    return "\n".join(f"  {place}: {_joined(texts)}" for place, texts in places.items())


def plain_problem(problem: Any) -> str:
    """What one entry of `ValidationError.errors()` says, in words of a configuration file.

    Example:
        >>> plain_problem({"type": "int_parsing", "msg": "...", "input": "many", "ctx": {}})
        "expected a whole number, got 'many'"
    """
    limits = {name: value for name, value in (problem.get("ctx") or {}).items() if name != "error"}
    known = _EXPECTED.get(problem["type"])
    if known is None:
        return str(problem["msg"]).removeprefix("Value error, ")
    return f"expected {known.format(**limits)}, got {problem['input']!r:.80}" if known else "is missing"


_EXPECTED = {
    "missing": "",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "finite_number": "a finite number",
    "string_type": "a text",
    **dict.fromkeys(("list_type", "tuple_type", "set_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type", "dataclass_type"), "a mapping (key: value)"),
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "too_short": "{min_length} or more entries",
    "too_long": "at most {max_length} entries",
}


def _place(location: tuple[int | str, ...], content: Any) -> list[int | str]:
    """The part of a location that stands in the file; pydantic adds names of the forms a value could have had."""
    place: list[int | str] = []
    for index, part in enumerate(location):
        if isinstance(content, dict) and part in content:
            content = content[part]
            place.append(part)
        elif isinstance(content, list) and isinstance(part, int):
            content = content[part] if part < len(content) else None
            place.append(part)
        elif index == len(location) - 1 and isinstance(content, dict) and isinstance(part, str) and part.isidentifier():
            place.append(part)  # a key that is missing
    return place


def _joined(texts: list[str]) -> str:
    """`expected A or B, got X` of the forms a value could have had."""
    texts = list(dict.fromkeys(texts))
    wanted = [text.removeprefix("expected ").rpartition(", got ") for text in texts]
    if len(texts) > 1 and all(text.startswith("expected ") for text in texts) and len({w[2] for w in wanted}) == 1:
        return f"expected {' or '.join(w[0] for w in wanted)}, got {wanted[0][2]}"
    return "; ".join(texts)


def _keys_beside(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that would be valid where the unknown key stands."""
    fields = model.model_fields
    for part in place[:-1]:
        found = fields.get(str(part))
        annotation = found.annotation if found else None
        options = [annotation, *getattr(annotation, "__args__", ())]
        inner = next((o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), None)
        if inner is not None:
            fields = inner.model_fields
    return list(fields)
