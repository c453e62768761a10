"""The history of a training: the network at several moments, and how far its weights had travelled by then.

What the learning-dynamics questions look at (Cheng et al., CVPR 2020). A history comes from the folder of a training
(`read_history`), or from checkpoints of whatever origin, given one by one (`as_history`).
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import HistoryError
from kdlens.models.keys import fit_keys
from kdlens.models.moments import Checkpoint as Checkpoint
from kdlens.models.moments import Unit as Unit
from kdlens.models.moments import at_checkpoint as at_checkpoint
from kdlens.models.training_files import (
    ABOUT,
    STUDENT,
    LayerLengths,
    checkpoint_name,
    kept_epochs,
    read_path_lengths,
)
from kdlens.models.weighted import layer_of_weights
from kdlens.models.wrappers import unwrap

Kind = Literal["per_step", "per_epoch"]

KEEP = 'train with `record: {epochs: log}` in the train.yaml, or record_epochs="log" in Python'
RECORD = 'train with `record: {path_layers: auto}` in the train.yaml, or path_layers="auto" in Python'


@dataclass(frozen=True, eq=False)
class History:
    """Checkpoints of one training in order, with the path lengths of its layers.

    Attributes:
        checkpoints: two or more, oldest first; the last one is the trained network.
        layers: path lengths at the checkpoints by layer, from a training's folder.
        given: W at the checkpoints for every layer, from a user's list; then `layers` is empty.
        network: the network they are checkpoints of, where it is known.
        name: where the history is from, for error messages.

    Example:
        >>> nets = [nn.Linear(2, 1) for _ in range(3)]
        >>> history = as_history([(nets[0], 0.0), (nets[1], 0.4), (nets[2], 0.5)])
        >>> [c.moment for c in history.checkpoints], history.path("any layer").tolist()
        (['checkpoint 1', 'checkpoint 2', 'checkpoint 3'], [0.0, 0.4, 0.5])
    """

    checkpoints: tuple[Checkpoint, ...]
    layers: Mapping[str, LayerLengths] = field(default_factory=dict)
    given: Float[Tensor, " m"] | None = None
    network: nn.Module | None = None
    name: str = "the list of checkpoints"

    def __post_init__(self) -> None:
        if len(self.checkpoints) < 2:
            raise HistoryError(
                f"{self.name} has {len(self.checkpoints)} checkpoint, but what changed can only be seen with two or "
                f"more; {KEEP}"
            )
        _same_network(self.checkpoints, self.name)

    @property
    def unit(self) -> Unit:
        """What its checkpoints are counted in: epochs, or places in a user's list."""
        return self.checkpoints[0].unit

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the content of all checkpoints, their moments and path lengths."""
        digest = hashlib.sha256()
        for checkpoint in self.checkpoints:
            digest.update(f"{checkpoint.moment}|{checkpoint.fingerprint}|".encode())
        digest.update(repr(None if self.given is None else self.given.tolist()).encode())
        for layer, lengths in sorted(self.layers.items()):
            numbers = (lengths.per_step.tolist(), lengths.per_epoch.tolist(), lengths.initial_norm)
            digest.update(f"{layer}|{numbers!r}|".encode())
        return digest.hexdigest()

    def of(self, network: nn.Module) -> "History":
        """Return this history with the network it belongs to, which `path` needs for layers without weights.

        Raises:
            HistoryError: it is the history of another network.
        """
        fit = fit_keys(unwrap(network), self.checkpoints[0].tensors)
        if fit.problem:
            kind = type(unwrap(network)).__name__
            raise HistoryError(f"{self.name} is the training of another network than this {kind}: {fit.problem}")
        return replace(self, network=network)

    def path(self, layer: str, kind: Kind = "per_step") -> Float[Tensor, " m"]:
        """Return W at every checkpoint: the length of the path of a layer's weights so far, divided by ||w_0||.

        A layer without weights (a ReLU) has the path of the last weighted layer before it, as training records it; the
        network must be known for that (`of`). What a user gave as path lengths is returned as it is, for every layer
        and both kinds.

        Args:
            layer: dotted name.
            kind: distances summed over single updates (the authors' code) or over epochs (the paper).

        Raises:
            HistoryError: no path lengths for that layer (the text names those there are), or ||w_0|| = 0.
            LayerNotFoundError: the network has no such layer.

        Source: Cheng et al., CVPR 2020, W(m) = sum_{k<=m} ||w_k - w_{k-1}|| / ||w_0||.
        """
        if kind not in ("per_step", "per_epoch"):
            raise HistoryError(f'path lengths are "per_step" or "per_epoch", not "{kind}"')
        if self.given is not None:
            return self.given.clone()
        name = self._recorded(layer)
        lengths = self.layers[name]
        if not lengths.initial_norm > 0:
            raise HistoryError(
                f'the weights of layer "{name}" in {self.name} started at zero, so their path cannot be divided by '
                "their first length; choose another layer"
            )
        return (lengths.per_step if kind == "per_step" else lengths.per_epoch) / lengths.initial_norm

    def _recorded(self, layer: str) -> str:
        """The layer whose path was recorded for `layer`."""
        owner = None if self.network is None else layer_of_weights(self.network, layer)
        for name in (layer, owner):
            if name in self.layers:
                return str(name)
        if not self.layers:
            raise HistoryError(f"{self.name} has no path lengths; {RECORD}, or give them in a list of pairs")
        stands = f' (nor of "{owner}", whose weights come before it)' if owner not in (None, layer) else ""
        hint = "" if self.network is not None else "; for a layer without weights name the last weighted one before it"
        raise HistoryError(
            f'{self.name} has no path lengths of layer "{layer}"{stands}, only of {", ".join(self.layers)}{hint}; '
            f'name one of these, or train with `record: {{path_layers: ["{owner or layer}"]}}`'
        )


def read_history(folder: str | os.PathLike[str]) -> History:
    """Read the history of a finished training from the folder that `kdlens train` or `kdlens.distill` wrote.

    The trained student counts as the last checkpoint where its epoch was not among those recorded.

    Raises:
        HistoryError: no such folder, no training in it or an unfinished one, no checkpoints, or damaged path lengths.
        ModelError: a checkpoint is damaged; UnsafeFileError: it would run code.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise HistoryError(f"there is no folder {folder}; give the one that `kdlens train -o FOLDER` wrote")
    if not (folder / ABOUT).is_file():
        seeds = sorted(p.parent.name for p in folder.glob(f"*/{ABOUT}"))
        hint = (
            f"it holds {', '.join(seeds)}: give one folder a network" if seeds else "give one that `kdlens train` wrote"
        )
        raise HistoryError(f"{folder} holds no training; {hint}")
    if not (folder / STUDENT).is_file():
        raise HistoryError(f"the training in {folder} is not finished; the same command continues it")
    kept, lengths = kept_epochs(folder), read_path_lengths(folder)
    if not any(kept):
        raise HistoryError(f"the training in {folder} kept no checkpoints; {KEEP}")
    found = [Checkpoint(epoch, folder / checkpoint_name(epoch)) for epoch in kept]
    last = _epochs(folder)
    if last > kept[-1]:
        found.append(Checkpoint(last, folder / STUDENT))
    return History(tuple(found), _at(lengths, [c.epoch for c in found], folder), name=str(folder))


def as_history(given: Any) -> History:
    """Make a history of what was given.

    Args:
        given: a history; the folder of a training; or a list of checkpoints in the order of training, each a weights
            file, a state dict or a network, alone or in a pair with its path length (W: already divided by ||w_0||).

    Raises:
        HistoryError: something else, fewer than two checkpoints, some with and some without a path length, path lengths
            that fall, or checkpoints of different networks.
        ModelError, UnsafeFileError: a file that cannot be used.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> states = [{name: t + step for name, t in net.state_dict().items()} for step in (0, 1)]
        >>> as_history(list(zip(states, [0.0, 0.3]))).path("").tolist()
        [0.0, 0.3]
    """
    if isinstance(given, History):
        return given
    if isinstance(given, (str, os.PathLike)):
        return read_history(given)
    if not isinstance(given, Sequence):
        raise HistoryError(
            "a training is given as its folder or as a list of (checkpoint, path length), "
            f"not as {type(given).__name__}"
        )
    pairs = [_is_pair(entry) for entry in given]
    if any(pairs) and not all(pairs):
        raise HistoryError("give a path length with every checkpoint or with none: [(checkpoint, path length), ...]")
    checkpoints = tuple(
        _checkpoint(i, entry[0] if pair else entry)
        for i, (entry, pair) in enumerate(zip(given, pairs, strict=True), start=1)
    )
    _own_memory(checkpoints)
    return History(checkpoints, given=_lengths([entry[1] for entry in given]) if any(pairs) else None)


def _is_pair(entry: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(entry, (list, tuple)) and len(entry) == 2


def _checkpoint(position: int, given: Any) -> Checkpoint:
    if isinstance(given, (str, os.PathLike)):
        return Checkpoint(position, Path(given), "checkpoint")
    if isinstance(given, (nn.Module, Mapping)):
        return Checkpoint(position, given, "checkpoint")
    raise HistoryError(
        f"checkpoint {position} must be a weights file, a state dict or a network, not {type(given).__name__}"
    )


def _lengths(given: Sequence[Any]) -> Tensor:
    try:
        lengths = torch.tensor([float(length) for length in given], dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise HistoryError(f"path lengths must be numbers, got {list(given)!r:.80}") from error
    if not bool(torch.isfinite(lengths).all()) or bool((lengths < 0).any()) or bool((lengths.diff() < 0).any()):
        raise HistoryError(
            f"path lengths must be finite, at least 0 and never fall, got {list(given)!r:.120}; give the checkpoints "
            "in the order of training, each with the length of the whole path up to it"
        )
    return lengths


def _same_network(checkpoints: Sequence[Checkpoint], name: str) -> None:
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if other.shapes != first.shapes:
            keys = dict.fromkeys([*first.shapes, *other.shapes])
            key = next(key for key in keys if first.shapes.get(key) != other.shapes.get(key))
            raise HistoryError(
                f'{name} mixes different networks: "{key}" is {first.shapes.get(key, "absent")} in {first.label} and '
                f"{other.shapes.get(key, 'absent')} in {other.label}"
            )


def _own_memory(checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse state dicts that all look at one network: `state_dict()` gives views, which change with the training."""
    seen: dict[int, Checkpoint] = {}
    for checkpoint in checkpoints:
        place = 0
        if not isinstance(checkpoint.source, Path):
            place = next((t.data_ptr() for t in checkpoint.tensors.values() if t.numel()), 0)
        if place in seen and place:
            raise HistoryError(
                f"{seen[place].label} and {checkpoint.label} share their memory, so they hold the same weights; "
                "keep copy.deepcopy(network.state_dict()) during training"
            )
        seen[place] = checkpoint


def _epochs(folder: Path) -> int:
    """How many epochs the training in a folder has; 0 where its description does not say."""
    try:
        return int(json.loads((folder / ABOUT).read_text(encoding="utf-8"))["settings"]["training"]["epochs"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise HistoryError(f"{folder / ABOUT} is damaged ({error}); copy it again from where it was made") from error


def _at(lengths: Mapping[str, LayerLengths], epochs: Sequence[int], folder: Path) -> dict[str, LayerLengths]:
    """Path lengths at the checkpoints."""
    for layer, found in lengths.items():
        if len(found.per_step) <= epochs[-1]:
            raise HistoryError(
                f'the path lengths of layer "{layer}" in {folder} end before epoch {epochs[-1]}, whose checkpoint is '
                "kept; copy the whole folder again from where the training was made"
            )
    return {layer: found.at(epochs) for layer, found in lengths.items()}
