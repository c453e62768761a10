"""The folder of a training.

training.json               settings, fingerprints of networks and images, versions
state.safetensors           where to continue (small once the training is finished)
history.csv                 one row an epoch
path_lengths.csv            one row an epoch and layer
checkpoints/epoch-NNN.safetensors   the student after NNN epochs; 000 is its start
student.safetensors         the trained student; its presence means that the training is finished
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from kdlens.errors import RunFolderError
from kdlens.files import explained, write_atomically
from kdlens.models.training_files import ABOUT, CHECKPOINTS, PATH_LENGTHS, STUDENT, checkpoint_name
from kdlens.models.weights import read_weights, save_weights
from kdlens.training.state import ANEW, State, prefixed

STATE = "state.safetensors"
EARLIER = "earlier"
"""Trainings that this one builds on have their folders in here."""

BESIDE = {EARLIER, "train.yaml", "results.json"}
"""What may stand in the folder before the training starts."""

FILES = (STUDENT, STATE, "history.csv", PATH_LENGTHS, ABOUT)


class TrainingFolder:
    """A folder that belongs to one training.

    Args:
        path: created if missing.
        settings: all that decides the result.
        made_with: versions and machine, written down and not compared.
        overwrite: throw away what an earlier training left here.

    Raises:
        RunFolderError: the path holds something else, or a training with other settings.
    """

    def __init__(
        self, path: Path, settings: Mapping[str, Any], made_with: Mapping[str, str], *, overwrite: bool = False
    ) -> None:
        self.path = path
        settings = json.loads(json.dumps(settings))  # compare what a file can hold: tuples become lists
        if path.exists() and not path.is_dir():
            raise RunFolderError(f"{path} is a file; give a folder for the training")
        if not (path / ABOUT).is_file() and _holds_other_things(path):
            raise RunFolderError(f"{path} is not empty and holds no training; choose a new folder")
        with explained(path):
            if overwrite:
                self._clear()
            path.mkdir(parents=True, exist_ok=True)
            if (path / ABOUT).is_file():
                self._check_same(settings)
            else:  # before anything else: by this file the folder is known as ours
                self._write_json(ABOUT, {"settings": settings, "made_with": dict(made_with)})
            (path / CHECKPOINTS).mkdir(exist_ok=True)
            self._sweep()

    @property
    def finished(self) -> bool:
        """Whether the training here is finished."""
        return (self.path / STUDENT).is_file()

    def load_state(self) -> State | None:
        """Return where to continue, or None at the very start."""
        place = self.path / STATE
        if not place.is_file():
            return None
        state = State.from_file(str(place))
        if self.finished:
            state.tensors |= prefixed("student", read_weights(self.path / STUDENT))
        return state

    def save_state(self, state: State) -> None:
        """Store where to continue, replacing the state before."""
        self._write(STATE, state.to_bytes())

    def save_checkpoint(self, epoch: int, student: nn.Module) -> None:
        """Keep the student as it is after `epoch` epochs."""
        self._save_network(checkpoint_name(epoch), student, {"epoch": epoch})

    def has_checkpoint(self, epoch: int) -> bool:
        """Whether the student was kept after `epoch` epochs."""
        return (self.path / checkpoint_name(epoch)).is_file()

    def save_student(self, student: nn.Module) -> None:
        """Store the trained student; from here on the training counts as finished."""
        self._save_network(STUDENT, student, {})

    def save_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a CSV file; floats with all their digits."""
        columns = list(dict.fromkeys(column for row in rows for column in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self._write(name, text.getvalue().encode())

    def _save_network(self, name: str, student: nn.Module, notes: Mapping[str, Any]) -> None:
        with explained(self.path / name):
            save_weights(student, self.path / name, notes)

    def _write_json(self, name: str, content: Any) -> None:
        self._write(name, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    def _write(self, name: str, content: bytes) -> None:
        with explained(self.path / name):
            write_atomically(self.path / name, content)

    def _check_same(self, settings: Mapping[str, Any]) -> None:
        try:
            before = json.loads((self.path / ABOUT).read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError) as error:
            raise RunFolderError(f"{self.path / ABOUT} cannot be read; choose a new folder") from error
        differences = list(_differences(before, settings))
        if not differences:
            return
        hint = f"Give another folder, or {ANEW} to throw the earlier training away."
        if any(place == "student.initial_weights" for place, _, _ in differences):
            start = self.path / checkpoint_name(0)
            hint += f' To continue with an unseeded student: kdlens.load_weights(student, "{start}") first.'
        listed = "; ".join(f"{place} was {old}, now {new}" for place, old, new in differences)
        raise RunFolderError(f"{self.path} holds a training with other settings: {listed}. {hint}")

    def _clear(self) -> None:
        for name in FILES:  # the student goes first, so a kill in between never leaves it beside foreign settings
            (self.path / name).unlink(missing_ok=True)
        for file in (self.path / CHECKPOINTS).glob("epoch-*.safetensors"):
            file.unlink()

    def _sweep(self) -> None:
        """Remove what a kill in the middle of writing left."""
        for name in (*FILES, *BESIDE):
            for file in self.path.glob(f".{name}-*"):
                file.unlink()
        for file in (self.path / CHECKPOINTS).glob(".epoch-*.safetensors-*"):
            file.unlink()


def _holds_other_things(path: Path) -> bool:
    names = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    half_written = tuple(f".{name}-" for name in (ABOUT, *BESIDE))
    return any(name not in BESIDE and not name.startswith(half_written) for name in names)


def _differences(before: Any, now: Any, place: str = "") -> Iterator[tuple[str, str, str]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), f"{place}.{key}" if place else key)
    elif before != now:
        yield place, _short(before), _short(now)


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else text[:12] + "…"
