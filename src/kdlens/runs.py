"""The run folder: what a study leaves behind, written so that a kill at any moment loses nothing that was finished.

    NAME/run.json                      what made this folder, and with which version
    NAME/study.yaml                    the study, resolved
    NAME/environment.json              machine, versions, command
    NAME/made_from.json               fingerprints of networks, data and seed
    NAME/answers/QUESTION/...          one folder an answer (see `Answer.save`) with its fingerprint
    NAME/report.html

Files appear whole or not at all: they are written beside their place and moved there in one step.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdlens._version import __version__
from kdlens.answer import Answer
from kdlens.errors import RunFolderError
from kdlens.files import beside, explained, write_atomically

MARKER = "run.json"
MADE_FROM = "made_from.json"
_OLD = ".old-"


class RunFolder:
    """A folder that belongs to one study.

    Args:
        path: created if missing. A folder that holds other things than a run is refused, so nobody's files are mixed
            with ours or overwritten.

    Raises:
        RunFolderError: the path is a file, or a non-empty folder that is not a run.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     RunFolder(place + "/run").saved_questions()
        []
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise RunFolderError(f"{self.path} is a file; give a folder for the run")
        if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / MARKER).is_file():
            raise RunFolderError(f"{self.path} is not empty and is not a kdlens run; choose a new folder")
        with explained(self.path):
            (self.path / "answers").mkdir(parents=True, exist_ok=True)
        if not (self.path / MARKER).exists():
            self.write_json(MARKER, {"made_by": "kdlens", "version": __version__, "layout": 1})

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file whole or not at all; return its path."""
        target = self.path / name
        with explained(target):
            write_atomically(target, text.encode("utf-8", "backslashreplace"))
        return target

    def write_json(self, name: str, content: Any) -> Path:
        """Write `content` as indented JSON."""
        return self.write_text(name, json.dumps(content, indent=1, ensure_ascii=False, sort_keys=True) + "\n")

    def saved_questions(self) -> list[str]:
        """Names of the questions that have an answer here."""
        place = self.path / "answers"
        for left in place.glob(f"{_OLD}*"):
            _restore(place / left.name.removeprefix(_OLD))
        found = (p.name for p in place.iterdir() if (p / "fingerprint.txt").is_file())
        return sorted(name for name in found if not name.startswith("."))  # others were never finished

    def made_from(self, parts: Mapping[str, Any]) -> list[str]:
        """Note what the answers are made from, and return the names of the parts that were others before.

        Args:
            parts: name of a part of the study -> what it depends on; plain values.
        """
        new = {name: _digest(content) for name, content in parts.items()}
        try:
            old = json.loads((self.path / MADE_FROM).read_text(encoding="utf-8"))
            changed = [name for name in new if old.get(name) != new[name]]
        except (OSError, ValueError, AttributeError):
            changed = []  # an older run, or a damaged note: nothing is known
        answered = bool(self.saved_questions())
        self.write_json(MADE_FROM, new)
        return changed if answered else []

    def load_answer(self, question: str, fingerprint: str | None = None) -> Answer | None:
        """Return the stored answer, or None if there is none or it was made from something else."""
        from safetensors import SafetensorError

        folder = self.path / "answers" / question
        _restore(folder)
        try:
            if fingerprint is not None and (folder / "fingerprint.txt").read_text() != fingerprint:
                return None
            return Answer.load(folder)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None  # missing or damaged: it will be computed again

    def save_answer(self, answer: Answer, fingerprint: str) -> None:
        """Store an answer; an older one of the same question is replaced in one step."""
        place = self.path / "answers"
        with explained(place):
            fresh = beside(place / answer.question, "new-")
            try:
                fresh.mkdir()
                answer.save(fresh)
                (fresh / "fingerprint.txt").write_text(fingerprint)
                _swap(fresh, place / answer.question)
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise


def fingerprint_of(content: Any) -> str:
    """Return the SHA-256 of `content` as canonical JSON, together with the code that would compute from it.

    Example:
        >>> fingerprint_of({"a": 1, "b": 2}) == fingerprint_of({"b": 2, "a": 1})
        True
    """
    return _digest({"content": content, "code": _code_fingerprint()})


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _code_fingerprint() -> str:
    """Hash of the source that turns models and images into numbers; the report and the command line do not count."""
    digest = hashlib.sha256(__version__.encode())
    root = Path(__file__).parent
    for part in ("data", "models", "questions", "stats"):
        for file in sorted((root / part).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _old(folder: Path) -> Path:
    return folder.with_name(f"{_OLD}{folder.name}")


def _swap(fresh: Path, target: Path) -> None:
    """Move `fresh` to `target`; at every moment either the old or the new folder can be found."""
    shutil.rmtree(_old(target), ignore_errors=True)
    if target.exists():
        os.rename(target, _old(target))
    os.rename(fresh, target)
    shutil.rmtree(_old(target), ignore_errors=True)


def _restore(folder: Path) -> None:
    """Finish a swap that was killed half-way."""
    if not folder.exists() and _old(folder).exists():
        os.rename(_old(folder), folder)
