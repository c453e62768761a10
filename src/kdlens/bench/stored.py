"""Weights of trained networks: some come with the package, the others lie in a cache folder once trained."""

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from kdlens.bench.recipes import Recipe
from kdlens.data.planted import WORLDS
from kdlens.files import explained, write_atomically

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the networks that come with the package: a file a world, and `accuracy.json`."""

ARCH = "cnn"
"""The architecture whose networks come with the package."""


def pack(network: nn.Module) -> dict[str, Tensor]:
    """Weights of a network, rounded to 16 bits; counters are left out."""
    return {
        name: value.half().contiguous() for name, value in network.state_dict().items() if value.is_floating_point()
    }


def unpack(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Put packed weights into a network of the same architecture.

    Example:
        >>> one, other = nn.Linear(2, 1), nn.Linear(2, 1)
        >>> unpack(other, pack(one)).weight.half().equal(one.weight.half())
        True
    """
    network.load_state_dict({name: value.float() for name, value in weights.items()}, strict=False)
    return network.eval()


def fits(network: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    """Whether packed weights are those of a network of this architecture.

    Example:
        >>> fits(nn.Linear(2, 1), pack(nn.Linear(2, 1))), fits(nn.Linear(2, 1), pack(nn.Linear(3, 1)))
        (True, False)
    """
    return {k: v.shape for k, v in pack(network).items()} == {k: v.shape for k, v in weights.items()}


def from_package(world: str, name: str) -> dict[str, Tensor] | None:
    """Packed weights that come with the package, e.g. `"kd-0"` of the world `"columns"`; None where there are none."""
    start = f"{name}."
    found = _file_of(world)
    return {key.removeprefix(start): value for key, value in found.items() if key.startswith(start)} or None


@functools.cache
def _file_of(world: str) -> dict[str, Tensor]:
    path = WEIGHTS / f"{world}.safetensors"
    return load_file(path) if path.is_file() else {}


def recorded_accuracy() -> dict[str, dict[str, float]]:
    """Test accuracy of each network that comes with the package: world -> name -> share."""
    return json.loads((WEIGHTS / "accuracy.json").read_text())


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Where trained networks are kept: as given, or `$KDLENS_CACHE`, or `~/.cache/kdlens`."""
    return Path(given or os.environ.get("KDLENS_CACHE") or Path.home() / ".cache" / "kdlens")


def cached_file(folder: Path, recipe: Recipe, world: str, name: str) -> Path:
    """File of one network; its name changes with the world and the recipe, so that no stale one is read."""
    digest = hashlib.sha256(f"{recipe} {WORLDS[world]}".encode()).hexdigest()[:12]
    return folder / "planted" / f"{world}-{name}-{digest}.safetensors"


def from_cache(path: Path) -> dict[str, Tensor] | None:
    """Packed weights in a file; None where there is none, or a damaged one."""
    try:
        return load_file(path) if path.is_file() else None
    except (SafetensorError, OSError):
        return None


def keep(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write packed weights.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save({name: torch.clone(value) for name, value in weights.items()}))
