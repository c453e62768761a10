"""Files of label embeddings. None of the formats can hold code."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.data.files import shown
from kdlens.errors import DataError


def read_embeddings(path: Path) -> tuple[list[str] | None, Float[Tensor, "k e"]]:
    """Read class names, where the file has them, and their embeddings.

    Args:
        path: `.npy` holding `(K, e)`; `.safetensors` with one tensor `(K, e)` and, if wanted, a JSON list `names` in
            its metadata; or `.csv` with a row a class, its first cell a name or the first number.

    Raises:
        DataError: missing, damaged, not `(K, e)`, or not finite.
    """
    reader = {".npy": _from_npy, ".safetensors": _from_safetensors, ".csv": _from_csv}[path.suffix.lower()]
    try:
        names, rows = reader(path)
    except OSError as error:
        raise DataError(f"cannot read {shown(path)}: {error.strerror or error}") from error
    except DataError:
        raise
    except (ValueError, EOFError, TypeError, csv.Error) as error:
        raise DataError(f"{shown(path)} does not hold embeddings: {error}") from error
    if rows.ndim != 2 or 0 in rows.shape:
        raise DataError(f"{shown(path)} holds a tensor of shape {tuple(rows.shape)}; expected (classes, e)")
    if names is not None and len(names) != len(rows):
        raise DataError(f"{shown(path)} holds {len(names)} names but {len(rows)} embeddings")
    if not torch.isfinite(rows).all():
        raise DataError(f"{shown(path)} holds NaN or infinite values")
    return names, rows


def _from_npy(path: Path) -> tuple[list[str] | None, Tensor]:
    array = np.load(path, allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise DataError(f"{shown(path)} does not hold an array of numbers")
    return None, torch.from_numpy(array.astype(np.float32))


def _from_safetensors(path: Path) -> tuple[list[str] | None, Tensor]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata, keys = file.metadata() or {}, list(file.keys())
            if len(keys) != 1:
                raise DataError(f"{shown(path)} holds {len(keys)} tensors; expected one, (classes, e)")
            rows = file.get_tensor(keys[0]).float()
    except SafetensorError as error:
        raise DataError(f"{shown(path)} is not a safetensors file: {error}") from error
    names = json.loads(metadata["names"]) if "names" in metadata else None
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise DataError(f"{shown(path)} has names that are not a list of texts")
    return names, rows


def _from_csv(path: Path) -> tuple[list[str] | None, Tensor]:
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.reader(file) if line]
    if lines and not all(_is_number(cell) for cell in lines[0][1:]):
        lines = lines[1:]  # a header
    if not lines or len({len(line) for line in lines}) > 1:
        raise DataError(f"{shown(path)} must hold one row a class, all of the same length")
    named = not all(_is_number(line[0]) for line in lines)
    numbers = [[float(cell) for cell in line[named:]] for line in lines]
    return [line[0] for line in lines] if named else None, torch.tensor(numbers)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
