"""Files that appear whole or not at all, and an operating system's errors about them in words that say what to do."""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from kdlens.errors import RunFolderError


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Give the path of an empty file beside `target`, and move it there in one step once it has been written.

    Where the body fails or is killed, `target` is as it was; of a kill, a file `.NAME-...` stays behind.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     with whole(Path(place) / "a.txt") as fresh:
        ...         _ = fresh.write_text("all of it")
        ...     (Path(place) / "a.txt").read_text()
        'all of it'
    """
    fresh = beside(target)
    try:
        fresh.touch(exist_ok=False)
        mode = fresh.stat().st_mode  # as the user's other files; some writers make theirs private
        yield fresh
        fresh.chmod(mode)
        with fresh.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(fresh, target)
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)


def write_atomically(target: Path, content: bytes) -> None:
    """Write `content` to `target`, which is never seen half-written."""
    with whole(target) as fresh:
        fresh.write_bytes(content)


def require_folder(target: Path) -> None:
    """Refuse a file whose folder is not there: a slip of the pen must not leave folders behind.

    Raises:
        RunFolderError: there is no such folder.
    """
    folder = target.absolute().parent
    if not folder.is_dir():
        raise RunFolderError(f"cannot write {target}: there is no folder {folder}; make it, or choose another")


def beside(target: Path, kind: str = "") -> Path:
    """A free name beside `target`, hidden, for what is not finished yet."""
    return target.with_name(f".{kind}{target.name}-{os.getpid()}-{secrets.token_hex(4)}")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an operating system's error about `path` into one that says what to do.

    Raises:
        RunFolderError: the disk is full, or `path` cannot be written for another reason.
    """
    try:
        yield
    except RunFolderError:
        raise
    except Exception as error:
        number = _errno(error)
        if number is None:
            raise
        if number == errno.ENOSPC:
            raise RunFolderError(
                f"the disk is full while writing {path}; what was finished before is kept, so make room and run again"
            ) from error
        raise RunFolderError(f"cannot write {path}: {os.strerror(number) if number else error}") from error


def _errno(error: Exception) -> int | None:
    """The operating system's number of an error, 0 where it gives none; None where another part is to blame."""
    if isinstance(error, OSError):
        return error.errno or 0
    told = re.search(r"os error (\d+)", str(error))  # safetensors tells it in its text alone
    return int(told[1]) if told else None
