"""Weights in files: read without running code, fitted to a network key by key, written whole or not at all."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from kdlens.errors import ModelError
from kdlens.files import whole
from kdlens.models.checkpoints import read_tensors
from kdlens.models.keys import Fit, fit_keys
from kdlens.models.wrappers import unwrap
from kdlens.nn.virtual import LOGITS, VirtualAttention

_HEADER = "kdlens"
VIRTUAL = "vam"
"""Temperature and scale of layers with virtual attention in the header: without them its logits mean another thing."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the keys of a file.

    Attributes:
        missing: keys of the network that the file lacks.
        unexpected: keys of the file that the network lacks, as the file spells them.
        renamed_prefix: prefix that was taken off the file's keys, e.g. `"module."`; `""` if none.
        mismatched: keys whose shapes differ, as `"fc.weight: (100, 64) in the file, (10, 64) in the network"`.
    """

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    renamed_prefix: str = ""
    mismatched: tuple[str, ...] = ()


def read_weights(path: str | os.PathLike[str], *, key: str | None = None) -> dict[str, Tensor]:
    """Read a state dict from a `.safetensors`, `.pt` or `.pth` file, onto the CPU, without running any code in it.

    State dicts inside containers (`{"epoch": 3, "state_dict": ...}`, also nested) are found.

    Args:
        path: the file.
        key: which entry of the container to take, where it holds several (`"teacher"`, `"ema"`); dots go deeper.

    Raises:
        UnsafeFileError: the file would run code if it were opened the ordinary way; the text names what it asks for.
        ModelError: there is no such file, it is damaged, or no state dict is in it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     save_weights(nn.Linear(2, 1), place + "/a.safetensors")
        ...     sorted(read_weights(place + "/a.safetensors"))
        ['bias', 'weight']
    """
    return _read(Path(path), key)[0]


def _read(path: Path, key: str | None) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Tensors, tied ones twice, and the header."""
    tensors, metadata = read_tensors(path, key)
    for copy, original in _entry(metadata, "tied").items():
        if original not in tensors:
            raise ModelError(f'{path} is damaged: "{copy}" is tied to "{original}", which is not in it')
        tensors[copy] = tensors[original]
    return tensors, metadata


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what `save_weights` was given as `metadata`; empty for files of other origin.

    Raises:
        ModelError: there is no such file, or it is damaged.
    """
    _, metadata = read_tensors(Path(path), None)
    return _entry(metadata, "metadata")


def _entry(metadata: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What `save_weights` wrote into the header; empty where another program used the same key."""
    ours = metadata.get(_HEADER)
    found = ours.get(name) if isinstance(ours, dict) else None
    return found if isinstance(found, dict) else {}


def load_weights(model: nn.Module, path: str | os.PathLike[str], *, strict: bool = True) -> LoadReport:
    """Load the weights in a file into a network.

    Prefixes that wrappers leave in keys (`module.`, `model.`, `_orig_mod.`, also stacked) are taken off. The network
    changes only if nothing is wrong. Virtual attention gets the temperature it was saved with.

    Args:
        model: any network, wrapped or not.
        path: see `read_weights`.
        strict: raise when a key is missing, unexpected or of another shape; otherwise load what fits and report.

    Raises:
        ModelError: (strict) a key does not fit; the text has every one. Also for whatever `read_weights` raises it for.
        UnsafeFileError: the file would run code.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     save_weights(nn.Linear(2, 1), place + "/a.safetensors")
        ...     load_weights(nn.Linear(2, 1), place + "/a.safetensors")
        LoadReport(missing=(), unexpected=(), renamed_prefix='', mismatched=())
    """
    network = unwrap(model)
    tensors, metadata = _read(Path(path), None)
    fit = fit_keys(network, tensors)
    if strict and fit.problem:
        raise ModelError(f"{path} does not fit {type(network).__name__}: {_vam_problem(fit) or fit.problem}")
    stored = {name: _checked(kept, name, path) for name, kept in _entry(metadata, VIRTUAL).items()}
    network.load_state_dict(fit.usable, strict=False)
    for name, layer in virtual_layers(network):
        layer.temperature, layer.rescale = stored.get(name, (layer.temperature, layer.rescale))
    return LoadReport(fit.missing, fit.unexpected, fit.prefix, fit.mismatched)


def _checked(kept: Any, name: str, path: str | os.PathLike[str]) -> tuple[float, bool]:
    """Temperature and scale of a layer as a header has them, which anybody may have written."""
    found = kept if isinstance(kept, dict) else {}
    temperature, rescale = found.get("temperature"), found.get("rescale")
    if not (isinstance(temperature, int | float) and 0 < temperature < math.inf and isinstance(rescale, bool)):
        raise ModelError(
            f'{path} says of the virtual attention in "{name}": {kept!s:.80}; a positive temperature and whether '
            "to rescale were expected. Save the weights again with kdlens.save_weights"
        )
    return float(temperature), rescale


def virtual_layers(network: nn.Module) -> list[tuple[str, VirtualAttention]]:
    """Return the layers with virtual attention, with their names."""
    return [(name, module) for name, module in network.named_modules() if isinstance(module, VirtualAttention)]


def _vam_problem(fit: Fit) -> str:
    """Say it plainly when all that is wrong is virtual attention on one side only, or in other blocks."""
    wrong = [*fit.missing, *fit.unexpected, *(text.partition(":")[0] for text in fit.mismatched)]
    if not wrong or not all(name.endswith(LOGITS) for name in wrong):
        return ""
    layer = wrong[0].rpartition(".")[0]
    if not fit.missing and not fit.mismatched:
        return (
            f'the file has virtual attention (in "{layer}") and the network has none there; load it with vam=True, or '
            "the options it was inserted with (vam: in a yaml file), or fold it before saving: "
            "kdlens.nn.VAM(network).fold()"
        )
    if not fit.unexpected and not fit.mismatched:
        return (
            f'the network has virtual attention (in "{layer}") and the file has none there; leave out vam, or insert '
            "it after loading: kdlens.nn.insert_vam(network)"
        )
    mine, theirs = (*fit.missing, "")[0], (*fit.unexpected, "")[0]
    detail = fit.mismatched[0] if fit.mismatched else f"{theirs} in the file, {mine} in the network"
    return f"virtual attention is split in another way ({detail}); give vam the blocks and layers it was trained with"


def save_weights(model: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
    """Write the weights of a network to a `.safetensors` file, whole or not at all.

    Tied weights are written once and tied again by `read_weights`.

    Args:
        model: any network; wrappers are left out, so the keys are those of the bare network.
        path: the file; its folder must exist.
        metadata: anything JSON can hold; `read_metadata` gives it back.

    Raises:
        ModelError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     save_weights(nn.Linear(2, 1), place + "/a.safetensors", {"epochs": 30})
        ...     read_metadata(place + "/a.safetensors")
        {'epochs': 30}
    """
    network = unwrap(model)
    tensors, tied = _untied(network)
    kept: dict[str, Any] = {"metadata": dict(metadata or {}), "tied": tied}
    if virtual := {n: {"temperature": x.temperature, "rescale": x.rescale} for n, x in virtual_layers(network)}:
        kept[VIRTUAL] = virtual
    header = {_HEADER: json.dumps(kept)}
    path = Path(path)
    if not path.parent.is_dir():
        raise ModelError(f"cannot write {path}: there is no folder {path.parent}")
    try:
        with whole(path) as fresh:
            save_file(tensors, fresh, header)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"cannot write {path}: {error}; what was there before is kept") from error


def _untied(network: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split a state dict into tensors with memory of their own, and names that stand for the same tensor."""
    tensors: dict[str, Tensor] = {}
    tied: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            continue  # extra state of a module; not weights
        place = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if value.numel() and place in first:
            tied[name] = first[place]
        else:
            first[place] = name
            tensors[name] = value.detach().to("cpu", copy=True).contiguous()
    return tensors, tied


def weights_fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 over names, types, shapes and bytes of all weights and buffers; wrappers do not change it.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> weights_fingerprint(net) == weights_fingerprint(nn.DataParallel(net))
        True
    """
    return tensors_fingerprint(unwrap(model).state_dict())


def tensors_fingerprint(tensors: Mapping[str, Any]) -> str:
    """Return the SHA-256 over names, types, shapes and bytes; for a network's state dict its `weights_fingerprint`.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> tensors_fingerprint(dict(reversed(net.state_dict().items()))) == weights_fingerprint(net)
        True
    """
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        if isinstance(value, Tensor):
            digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return digest.hexdigest()
