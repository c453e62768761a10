"""How attention in a student (`kdlens.nn`) is trained: its learning rate, temperature and entropy over the epochs."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from kdlens.errors import ConfigError, did_you_mean
from kdlens.models.trees import mixtures
from kdlens.nn import attention_entropy, attention_modules, attention_parameters, parameter_groups
from kdlens.nn.virtual import VirtualAttention

DEFAULTS: dict[str, Any] = {
    "entropy": 0.0,
    "lr": None,
    "weight_decay": 0.0,
    "from_epoch": 0,
    "temperature": None,
    "stages": 1,
}

TERM = "attention_entropy"
"""What the entropy is called among the terms of a loss and in the history."""


def resolve_attention(given: Mapping[str, Any] | None, student: nn.Module, epochs: int) -> dict[str, Any] | None:
    """Return all options of the training of a student's attention; None for a student without any.

    Options: `entropy`, the weight of the mean entropy of the attention's rows in the loss; `lr`, the learning rate of
    the logits, which the schedule multiplies as it does the optimiser's (None: the optimiser's); `weight_decay` of the
    logits; `from_epoch`, how many epochs they wait; `temperature`: a number, `{"start": 5.0, "end": 0.1}` (geometric,
    from the first epoch to the last), `{"start": 5.0, "schedule": "inverse"}` (start / epoch, from 1: the published
    code's) or None (as the student has it); `stages`: 2 trains the tree that was found again, see
    `kdlens.training.two_stages`.

    Args:
        given: options, or None for the defaults.
        student: the network to train.
        epochs: epochs of the training.

    Raises:
        ConfigError: options for a student without attention, an unknown one, or one that makes no sense.

    Example:
        >>> from kdlens.nn import insert_vam
        >>> student = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
        >>> _ = insert_vam(student)
        >>> resolve_attention({"entropy": 0.1}, student, 30)["temperature"]
        1.0
    """
    if not attention_parameters(student):
        if given is None:
            return None
        raise ConfigError(
            f"attention is set, but the student ({type(student).__name__}) has none; put some in with "
            "kdlens.nn.insert_vam (vam: true in train.yaml), take a mixture of experts (zoo:hme_resnet20), or leave "
            "the setting out"
        )
    if not isinstance(given, Mapping | None):
        raise ConfigError(f'attention is a mapping of options, e.g. {{"entropy": 0.1}}, not {given!r:.80}')
    options = _named("attention", given or {}, DEFAULTS)
    for name in ("entropy", "weight_decay", "from_epoch"):
        _at_least_0(name, options[name])
    if options["lr"] is not None:
        _at_least_0("lr", options["lr"])
    if not isinstance(options["from_epoch"], int):
        raise ConfigError(f"attention.from_epoch is a number of epochs, not {options['from_epoch']}")
    if options["stages"] not in (1, 2):
        raise ConfigError(f"attention.stages is 1 or 2, not {options['stages']}")
    if options["stages"] == 2:
        mixtures(student)
    options["temperature"] = _temperature(options["temperature"], student, epochs)
    return options


def temperature_at(temperature: float | Mapping[str, Any] | None, epoch: int, epochs: int) -> float | None:
    """Return the temperature of an epoch, counted from 0; None: it stays as it is.

    Example:
        >>> [temperature_at({"start": 5.0, "schedule": "inverse"}, epoch, 50) for epoch in (0, 1, 49)]
        [5.0, 2.5, 0.1]
        >>> [temperature_at({"start": 4.0, "end": 1.0, "schedule": "geometric"}, epoch, 3) for epoch in range(3)]
        [4.0, 2.0, 1.0]
    """
    if not isinstance(temperature, Mapping):
        return temperature
    start = float(temperature["start"])
    if temperature["schedule"] == "inverse":
        return start / (epoch + 1)
    return float(start * (temperature["end"] / start) ** (epoch / max(1, epochs - 1)))


class AttentionCourse:
    """A student's attention on its way through a training; does nothing where there is none.

    Args:
        student: the network that is trained.
        options: from `resolve_attention`.
        epochs: epochs of the training.
    """

    def __init__(self, student: nn.Module, options: Mapping[str, Any] | None, epochs: int) -> None:
        self._student, self._epochs = student, epochs
        self._options = options

    @property
    def unused_parameters(self) -> bool:
        """Whether some step may leave a parameter without gradient: logits that wait, and experts that nobody reads."""
        if self._options is None:
            return False
        hard = any(module.temperature == 0 for _, module in attention_modules(self._student))
        return hard or self._options["temperature"] == 0 or self._options["from_epoch"] > 0

    def groups(self, objective: nn.Module) -> list[dict[str, Any]]:
        """Return the parameters of student and method in groups for an optimiser; `own_lr` marks a rate of its own."""
        if self._options is None:
            return [{"params": list(objective.parameters())}]
        lr = self._options["lr"]
        rest, *apart = parameter_groups(objective, attention_lr=lr, attention_decay=self._options["weight_decay"])
        return [rest, *({**group, "own_lr": lr is not None} for group in apart)]

    def enter(self, epoch: int) -> None:
        """Set the temperature of an epoch, and let logits wait whose time has not come."""
        if self._options is None:
            return
        temperature = temperature_at(self._options["temperature"], epoch, self._epochs)
        for _, module in attention_modules(self._student):
            module.temperature = module.temperature if temperature is None else temperature
        if epoch < self._options["from_epoch"]:
            for logits in attention_parameters(self._student):
                logits.requires_grad_(False)

    def penalty(self) -> dict[str, Tensor]:
        """Return the entropy's term of the loss, if it has a weight."""
        weight = 0.0 if self._options is None else self._options["entropy"]
        return {TERM: weight * attention_entropy(self._student)} if weight else {}

    def row(self) -> dict[str, float]:
        """Return what the history keeps of an epoch: the mean entropy of the rows, in nats, and their temperature."""
        if self._options is None:
            return {}
        temperatures = [module.temperature for _, module in attention_modules(self._student)]
        mean = sum(temperatures) / len(temperatures)
        return {TERM: float(attention_entropy(self._student).detach()), "attention_temperature": mean}


def _named(what: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), known) or f"; it has {', '.join(known)}"
            raise ConfigError(f'{what} has no option "{name}"{hint}')
    return {**known, **given}


def _at_least_0(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigError(f"attention.{name} must be a number of at least 0, not {value}")


def _temperature(given: Any, student: nn.Module, epochs: int) -> float | dict[str, Any] | None:
    """A number, or a mapping with all its options; the student's own where all its attention has the same."""
    if given is None:
        own = {module.temperature for _, module in attention_modules(student)}
        return own.pop() if len(own) == 1 else None
    if not isinstance(given, Mapping):
        _at_least_0("temperature", given)
        if given == 0 and any(isinstance(module, VirtualAttention) for _, module in attention_modules(student)):
            raise ConfigError(
                "attention.temperature is 0, which is for mixtures of experts; that of virtual attention must be "
                "positive: every block reads all others"
            )
        return float(given)
    schedule = given.get("schedule", "geometric")
    if schedule not in ("geometric", "inverse"):
        raise ConfigError(f'attention.temperature.schedule is "geometric" or "inverse", not "{schedule}"')
    needed = ("start", "end") if schedule == "geometric" else ("start",)
    options = _named("attention.temperature", given, dict.fromkeys((*needed, "schedule")))
    for name in needed:
        if not isinstance(options[name], int | float) or not 0 < options[name] < math.inf:
            raise ConfigError(
                f"attention.temperature.{name} must be a positive number, not {options[name]}; write a number, "
                '{"start": 5.0, "end": 0.1} or {"start": 5.0, "schedule": "inverse"}'
            )
    return {**{name: float(options[name]) for name in needed}, "schedule": schedule}
