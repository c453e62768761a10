"""Optimisers by name, with the defaults students of this literature are trained with."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from kdlens.errors import ConfigError, UnknownNameError, did_you_mean

OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": False}),
    "adam": (torch.optim.Adam, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
    "adamw": (torch.optim.AdamW, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.05}),
}


def name_and_options(
    what: str, given: str | Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Resolve `"name"` or `{"name": ..., option: ...}` to a full mapping with all defaults written out.

    Raises:
        UnknownNameError: an unknown name.
        ConfigError: no name, or an unknown option.

    Example:
        >>> name_and_options("schedule", "step", {"step": {"gamma": 0.1}})
        {'name': 'step', 'gamma': 0.1}
    """
    options = {"name": given} if isinstance(given, str) else dict(given)
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f'{what} needs a name, e.g. "{next(iter(known))}"')
    if name not in known:
        raise UnknownNameError(f'unknown {what} "{name}"{did_you_mean(name, known) or "."} Known: {", ".join(known)}')
    for option in options:
        if option not in known[name]:
            hint = did_you_mean(option, known[name]) or f"; it has {', '.join(known[name])}"
            raise ConfigError(f'{what} "{name}" has no option "{option}"{hint}')
    return {"name": name, **known[name], **options}


def resolve_optimizer(given: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return name and all options of an optimiser; see `name_and_options`.

    Example:
        >>> resolve_optimizer({"name": "sgd", "lr": 0.1})["momentum"]
        0.9
    """
    known = {name: defaults for name, (_, defaults) in OPTIMIZERS.items()}
    resolved = name_and_options("optimizer", given, known)
    if not resolved["lr"] > 0:
        raise ConfigError(f"lr must be positive, not {resolved['lr']}")
    return resolved


Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]
"""Parameters, or groups of them with options of their own, as torch's optimisers take them."""


def make_optimizer(resolved: Mapping[str, Any], parameters: Parameters) -> torch.optim.Optimizer:
    """Make the optimiser; fused where the device has it, which spares small networks most of the step's cost.

    Args:
        resolved: from `resolve_optimizer`.
        parameters: what is frozen among them is left out.
    """
    options = dict(resolved)
    kind, _ = OPTIMIZERS[options.pop("name")]
    if "betas" in options:
        options["betas"] = tuple(options["betas"])
    given = list(parameters)
    groups: list[Any] = given if given and isinstance(given[0], dict) else [{"params": given}]
    trained = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    trained = [group for group in trained if group["params"]]
    if not trained:
        raise ConfigError("the student has no trainable parameters")
    every = [p for group in trained for p in group["params"]]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in every)
    try:
        made: torch.optim.Optimizer = kind(trained, fused=fused, **options)
    except ValueError as error:  # torch checks ranges
        raise ConfigError(f'optimizer "{resolved["name"]}": {error}') from error
    if options.get("momentum"):
        _start_momentum(made, every)
    return made


def _start_momentum(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Start from a momentum of zero, which gives the same updates as starting without any.

    Torch's fused SGD would fail where a parameter gets its first gradient later than others, and would go on with
    memory it never wrote where loss scaling skips the first step.
    """
    for parameter in parameters:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
