"""Stored outputs of a teacher, from wherever a user keeps them."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdlens.errors import ConfigError, DataError

Stored = Tensor | np.ndarray | str | os.PathLike[str]


def read_stored(stored: Stored) -> Tensor:
    """Return stored outputs as a tensor, without running code in a file.

    Args:
        stored: a tensor, an array, or a file of them: `.npy`, or `.safetensors` with one tensor.

    Raises:
        ConfigError: it is something else.
        DataError: the file is missing or damaged, or holds no numbers.

    Example:
        >>> read_stored(np.zeros((2, 3))).shape
        torch.Size([2, 3])
    """
    if isinstance(stored, Tensor):
        return stored
    if isinstance(stored, np.ndarray):
        return _numbers(stored, "cached logits")
    if not isinstance(stored, (str, os.PathLike)):
        kind = type(stored).__name__
        raise ConfigError(f"cached logits must be a tensor, an array, or a .npy or .safetensors file, not a {kind}")
    path = Path(stored)
    if path.suffix not in (".npy", ".safetensors"):
        raise ConfigError(f"cached logits must be a .npy or .safetensors file, not {path}")
    if not path.is_file():
        raise DataError(f"there is no file {path} with cached logits")
    return _from_numpy(path) if path.suffix == ".npy" else _from_safetensors(path)


def _from_numpy(path: Path) -> Tensor:
    try:
        array = np.load(path, allow_pickle=False)
    except Exception:  # noqa: BLE001 - numpy's own text advises to run the code in the file
        raise DataError(f"{path} is damaged or holds no array of numbers; store it with numpy.save again") from None
    return _numbers(array, str(path))


def _from_safetensors(path: Path) -> Tensor:
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except Exception as error:  # whatever goes wrong in a parser is the file's fault
        raise DataError(f"{path} is damaged or not a safetensors file: {error}") from error
    if len(tensors) != 1:
        raise ConfigError(f"{path} holds {len(tensors)} tensors; cached logits must be the only one")
    return next(iter(tensors.values()))


def _numbers(array: np.ndarray, what: str) -> Tensor:
    if array.dtype.kind not in "fiu":
        raise DataError(f"{what}: logits are real numbers, but the array holds {array.dtype}")
    return torch.from_numpy(np.array(array, dtype=np.float64))
