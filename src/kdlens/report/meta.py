"""What a report says about its making: networks, data, machine, command, and what went wrong."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from kdlens._version import __version__


@dataclass(frozen=True)
class ModelCard:
    """One network of the study, one seed.

    Attributes:
        name: `"teacher"`, `"baseline"` or the student's name.
        role: teacher, student or baseline.
        seed: index among the networks of the same name.
        arch: architecture as it was asked for.
        parameters: number of parameters.
        layers: layers that were looked at, first to last.
        weights: file the weights came from, if any.
        fingerprint: start of the SHA-256 of the weights.
    """

    name: str
    role: str
    seed: int = 0
    arch: str = ""
    parameters: int = 0
    layers: tuple[str, ...] = ()
    weights: str = ""
    fingerprint: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))


@dataclass(frozen=True)
class DataCard:
    """The images of the study: name, how many, their classes, and their shape `(C, H, W)`."""

    name: str = ""
    n: int = 0
    classes: tuple[str, ...] = ()
    size: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "size", tuple(self.size))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass
class Meta:
    """All a report shows that is not an answer.

    Attributes:
        title: title of the report.
        command: the command as a person would type it again.
        environment: versions and machine, name to value.
        study: the study file as text.
        models: one card a network.
        data: the images.
        alerts: what the reader must know first, e.g. from the doctor.
        failed: question to error text, for questions that gave no answer.
        created: time of making, ISO 8601.
        version: version of kdlens.

    Example:
        >>> meta = Meta("What did kd learn?", models=[ModelCard("kd", "student", arch="zoo:resnet8")])
        >>> Meta.from_dict(meta.to_dict()) == meta
        True
    """

    title: str = "What did the student learn?"
    command: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    study: str = ""
    models: list[ModelCard] = field(default_factory=list)
    data: DataCard = field(default_factory=DataCard)
    alerts: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    created: str = field(default_factory=_now)
    version: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Meta":
        """Read what `to_dict` gave, also after a way through JSON."""
        models = [ModelCard(**card) for card in content.get("models", ())]
        data = DataCard(**content.get("data", {}))
        return cls(**{**content, "models": models, "data": data})
