"""Mixed precision: the context of a forward pass, and the loss scaling that half precision needs."""

import contextlib
from contextlib import AbstractContextManager

import torch

from kdlens.errors import ConfigError
from kdlens.training.teaching import Precision

KINDS: dict[str, torch.dtype | None] = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def make_precision(kind: str, device: torch.device) -> Precision:
    """Return what makes the context of a forward pass.

    Raises:
        ConfigError: a kind other than `no`, `bf16` and `fp16`.

    Example:
        >>> with make_precision("bf16", torch.device("cpu"))():
        ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
        torch.bfloat16
    """
    if kind not in KINDS:
        raise ConfigError(f'unknown precision "{kind}"; choose one of {", ".join(KINDS)}')
    dtype = KINDS[kind]
    if dtype is None:
        return contextlib.nullcontext

    def autocast() -> AbstractContextManager[object]:
        return torch.autocast(device.type, dtype=dtype)

    return autocast


def make_scaler(kind: str, device: torch.device) -> torch.amp.GradScaler:
    """Return the loss scaling of `fp16`, which does nothing for other kinds."""
    return torch.amp.GradScaler(device.type, enabled=kind == "fp16")
