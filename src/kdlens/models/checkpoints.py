"""Open files of weights: safetensors, or pickles through `weights_only=True`, and find the state dict in them."""

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdlens.errors import ModelError, UnsafeFileError, did_you_mean
from kdlens.models.damage import what_is_wrong
from kdlens.models.pickle_names import foreign_names

_CONTAINERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "module",
    "state_dict_ema",
    "model_ema",
    "ema",
    "params_ema",
)
"""Keys under which state dicts are kept, the plain weights before their moving average."""

_AGAIN = "Copy or download it again, or save it again: torch.save(model.state_dict(), path), or kdlens.save_weights"


def read_tensors(path: Path, key: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state dict in a file, and the JSON metadata of a safetensors file."""
    if path.is_dir():
        raise ModelError(f"{path} is a folder; give the file with the weights")
    if not path.exists():
        raise ModelError(f"there is no file {path}{_beside(path)}")
    if path.suffix == ".safetensors" or _head(path)[8:9] == b"{":
        return _read_safetensors(path)
    return find_state_dict(_unpickle(path), path, key), {}


def _beside(path: Path) -> str:
    if not path.parent.is_dir():
        return f" (nor a folder {path.parent})"
    return did_you_mean(path.name, (other.name for other in path.parent.iterdir()))


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(16)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except Exception as error:  # whatever goes wrong in a parser is the file's fault
        why = "it is empty" if path.stat().st_size == 0 else _first_line(error)
        raise ModelError(f"{path} is damaged or not a safetensors file: {why}. {_AGAIN}") from error
    return tensors, {name: _json(text) for name, text in header.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unpickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # on formats torch has not seen; it reads them or raises
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - whatever goes wrong in a parser is the file's fault
        # torch's own text is left out, also as a cause: it advises to run the code in the file
        raise _refusal(path) from None


def _refusal(path: Path) -> ModelError | UnsafeFileError:
    wanted = [_spelled(name) for name in foreign_names(path)]
    if wanted:
        return UnsafeFileError(
            f"{path} asks for {_few(wanted)}, which could run code, so it was not opened. Only weights are read: "
            'where you trust the file, open it yourself and save `{"state_dict": model.state_dict()}` with torch.save, '
            "or use kdlens.save_weights(model, path), which writes safetensors"
        )
    return ModelError(f"{path} is damaged or not a file of weights: {what_is_wrong(path)}. {_AGAIN}")


def _spelled(name: str) -> str:
    """A name as programs spell it: the functions of `os` are pickled under the system's own module."""
    module, _, function = name.rpartition(".")
    return f"{name} (os.{function})" if module in ("posix", "nt") else name


def find_state_dict(content: Any, path: str | os.PathLike[str], key: str | None = None) -> dict[str, Tensor]:
    """Find the state dict in what a file holds; values that are no tensors (counters, options) are left out.

    Args:
        content: what the file holds.
        path: the file, for error messages.
        key: which entry to take; dots go deeper.

    Raises:
        ModelError: there is none, or there are several and nothing says which.

    Example:
        >>> find_state_dict({"epoch": 3, "model": {"fc.bias": torch.zeros(1)}}, "a.pt")
        {'fc.bias': tensor([0.])}
    """
    for part in key.split(".") if key else ():
        if not isinstance(content, Mapping) or part not in content:
            raise ModelError(f'{path} has no entry "{key}"; it holds {_listed(content)}')
        content = content[part]
    while isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        if tensors:
            return tensors
        content = _inside(content, path)
    raise ModelError(f"{path} holds no state dict (names to tensors); it holds {_listed(content)}")


def _inside(content: Mapping[str, Any], path: str | os.PathLike[str]) -> Any:
    named = [name for name in _CONTAINERS if isinstance(content.get(name), Mapping)]
    others = [name for name, value in content.items() if name not in _CONTAINERS and _holds_tensors(value)]
    if named:
        return content[named[0]]
    if len(others) > 1:
        raise ModelError(f"{path} holds several sets of weights ({_quoted(others)}); choose one with `key`")
    return content[others[0]] if others else None


def _holds_tensors(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return any(isinstance(v, Tensor) or _holds_tensors(v) for v in value.values())


def _listed(content: Any) -> str:
    if isinstance(content, Mapping):
        return _quoted([str(name) for name in content]) if content else "nothing"
    return type(content).__name__


def _quoted(names: list[str]) -> str:
    return _few([f'"{name}"' for name in names])


def _few(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
