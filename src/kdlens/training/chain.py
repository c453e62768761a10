"""Teacher assistants: distil step by step from a large network to a small one (Mirzadeh et al., AAAI 2020)."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from kdlens.errors import ConfigError
from kdlens.nn import attention_parameters
from kdlens.training.api import distill
from kdlens.training.result import TrainResult


def distill_chain(
    networks: Sequence[nn.Module], train_data: Any, *, out: str | os.PathLike[str] | None = None, **options: Any
) -> TrainResult:
    """Distil each network of a chain from the one before it, with any method.

    The published case is ResNet-101 -> ResNet-50 -> ResNet-18.

    Args:
        networks: the trained teacher first, then the assistants, and the student last; all but the first are trained
            in place.
        train_data: as for `kdlens.distill`.
        out: folder; assistants go to `earlier/assistant-K` in it, the student to the folder itself.
        options: as for `kdlens.distill`, the same for every link; `attention` for those that have some.

    Returns:
        The last link's result, with those of the assistants in `earlier`.

    Raises:
        ConfigError: fewer than two networks.

    Example:
        >>> import torch
        >>> data = (torch.rand(8, 1, 4, 4), torch.arange(8) % 2)
        >>> large, middle, small = (nn.Sequential(nn.Flatten(), nn.Linear(16, 2)) for _ in range(3))
        >>> result = distill_chain([large, middle, small], data, epochs=1, path_layers=())
        >>> result.network is small, len(result.earlier)
        (True, 1)
    """
    if len(networks) < 2:
        raise ConfigError("a chain needs at least a teacher and a student")
    attention = options.pop("attention", None)
    attended = [bool(attention_parameters(network)) for network in networks]
    results: list[TrainResult] = []
    for number, (teacher, student) in enumerate(itertools.pairwise(networks), start=1):
        last = number == len(networks) - 1
        place = None if out is None else Path(out) if last else Path(out) / "earlier" / f"assistant-{number}"
        title = None if last else f"assistant {number}"
        mine = attention if attended[number] or not any(attended[1:]) else None
        results.append(distill(teacher, student, train_data, out=place, attention=mine, **{"title": title, **options}))
    return replace(results[-1], earlier=(*results[:-1], *results[-1].earlier))
