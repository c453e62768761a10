"""The files of a training's folder that others read: names, and what stands in the table of path lengths.

`kdlens.training.folder` writes them and `kdlens.models.history` reads them; both take from here how they look.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.errors import HistoryError

ABOUT, STUDENT, CHECKPOINTS = "training.json", "student.safetensors", "checkpoints"
PATH_LENGTHS = "path_lengths.csv"
PATH_COLUMNS = ("epoch", "layer", "per_step", "per_epoch", "initial_norm")
"""One row an epoch and layer; lengths since the start, not divided by the initial norm."""

_NAME = re.compile(r"epoch-(\d{3,})\.safetensors")


@dataclass(frozen=True, eq=False)
class LayerLengths:
    """How far the weights of one layer had travelled at some epochs.

    Attributes:
        per_step: sum over all updates so far of ||w_t - w_{t-1}||.
        per_epoch: sum over all epochs so far of ||w_end - w_start||.
        initial_norm: ||w_0||.
    """

    per_step: Float[Tensor, " epochs"]
    per_epoch: Float[Tensor, " epochs"]
    initial_norm: float

    def at(self, epochs: Sequence[int]) -> "LayerLengths":
        """Lengths at these epochs only."""
        chosen = list(epochs)
        return LayerLengths(self.per_step[chosen], self.per_epoch[chosen], self.initial_norm)


def checkpoint_name(epoch: int) -> str:
    """Where in the folder the student is kept as it is after `epoch` epochs.

    Example:
        >>> checkpoint_name(4)
        'checkpoints/epoch-004.safetensors'
    """
    return f"{CHECKPOINTS}/epoch-{epoch:03d}.safetensors"


def kept_epochs(folder: Path) -> list[int]:
    """Epochs after which the student is kept in a folder, in order; other files are nobody's business."""
    place = folder / CHECKPOINTS
    names = [entry.name for entry in place.iterdir()] if place.is_dir() else []
    return sorted(int(match[1]) for match in map(_NAME.fullmatch, names) if match)


def read_path_lengths(folder: Path) -> dict[str, LayerLengths]:
    """Read the table of path lengths, by layer; empty where none were recorded.

    Raises:
        HistoryError: the table is damaged: other columns, no numbers, epochs that are missing or out of order.
    """
    path = folder / PATH_LENGTHS
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            table = csv.DictReader(stream)
            if not set(PATH_COLUMNS) <= set(table.fieldnames or ()):
                raise ValueError(f"its columns are not {', '.join(PATH_COLUMNS)}")
            rows = [_row(row) for row in table]
        return {
            layer: _of_layer([row for row in rows if row[1] == layer]) for layer in dict.fromkeys(r[1] for r in rows)
        }
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise HistoryError(
            f"{path} is damaged ({error or type(error).__name__}); copy it again from where the training was made"
        ) from error


Row = tuple[int, str, float, float, float]


def _row(row: dict[str, str]) -> Row:
    epoch, layer, *numbers = (row[column] for column in PATH_COLUMNS)
    per_step, per_epoch, initial = map(float, numbers)
    return int(epoch), layer, per_step, per_epoch, initial


def _of_layer(rows: Sequence[Row]) -> LayerLengths:
    if [row[0] for row in rows] != list(range(len(rows))):
        raise ValueError(f'the epochs of layer "{rows[0][1]}" are not 0, 1, 2, ...')
    if len({row[4] for row in rows}) > 1:
        raise ValueError(f'layer "{rows[0][1]}" has several initial norms')
    steps, epochs = (torch.tensor([row[column] for row in rows], dtype=torch.float64) for column in (2, 3))
    for lengths in (steps, epochs):
        if not bool(torch.isfinite(lengths).all()) or bool((lengths.diff() < 0).any()):
            raise ValueError(f'the path of layer "{rows[0][1]}" gets shorter or is no number')
    return LayerLengths(steps, epochs, rows[0][4])
