"""The networks given to the doctor, by the names that its messages use."""

from collections.abc import Mapping, Sequence

from torch import nn

from kdlens.errors import ConfigError
from kdlens.models.given import require_network

Networks = nn.Module | Sequence[nn.Module]
Students = Networks | Mapping[str, Networks]


def named_networks(
    teacher: nn.Module | None, student: Students | None, baseline: Networks | None
) -> dict[str, nn.Module]:
    """Return the networks by name: teacher, baseline, and `student`, or `student NAME` for each of a mapping.

    Of several seeds the first is taken.

    Raises:
        ConfigError: no network at all, or no seed of one.
        ModelError: something is no network.

    Example:
        >>> list(named_networks(nn.Identity(), {"kd": nn.Identity(), "fitnet": [nn.Identity()] * 2}, None))
        ['teacher', 'student kd', 'student fitnet']
    """
    given: dict[str, object] = {"teacher": teacher, **_students(student), "baseline": baseline}
    networks = {name: _first(value, name) for name, value in given.items() if value is not None}
    if not networks:
        raise ConfigError("the doctor needs at least one network, and data")
    return networks


def role_of(name: str) -> str:
    """The role in a name: `student kd` is a student."""
    return name.partition(" ")[0]


def _students(student: Students | None) -> dict[str, object]:
    if not isinstance(student, Mapping):
        return {"student": student}
    if student and not any(isinstance(value, (nn.Module, list, tuple)) for value in student.values()):
        require_network(student, "student")  # a state dict, not students by name: an error
    return {"student" if name == "student" else f"student {name}": value for name, value in student.items()}


def _first(value: object, name: str) -> nn.Module:
    if isinstance(value, (list, tuple)):
        if not value:
            raise ConfigError(f"the {name} is an empty list; give a network, or one a seed")
        value = value[0]
    return require_network(value, name)
