"""Files of datasets on disk. Names inside a dataset are hostile input: none is followed out of its folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kdlens.errors import DataError


def folder_of(root: str | os.PathLike[str] | None, needed: Sequence[str], layout: str, name: str) -> Path:
    """Return the dataset's folder when it holds what is needed.

    Args:
        root: as the user gave it.
        needed: files or folders that must be in it.
        layout: what the folder should look like and where to get it, for the error.
        name: the dataset's name.

    Raises:
        DataError: no folder was given, it does not exist, or something needed is not in it.
    """
    if root is None:
        raise DataError(f"{name} is read from a folder; give root=FOLDER.\n{layout}")
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(f"{name}: there is no folder {shown(folder.absolute())}.\n{layout}")
    for part in needed:
        if not (folder / part).exists():
            raise DataError(f"{name}: {shown(folder)} holds no {part}.\n{layout}")
    return folder


def one_of(value: str, options: Sequence[str], what: str, name: str) -> str:
    """Return `value` when it is among the options.

    Raises:
        DataError: it is not.
    """
    if value not in options:
        raise DataError(f'{name} has no {what} "{value}"; choose from {", ".join(options)}')
    return value


def shown(path: str | os.PathLike[str]) -> str:
    r"""A path for people: what a terminal could obey (line breaks, escape codes) or not show is written out.

    Example:
        >>> shown("a\nb.jpg")
        'a\\nb.jpg'
    """
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def inside(folder: Path, relative: str) -> Path:
    """Return the path of a file that a dataset's list names, which must lie inside its folder.

    Symbolic links inside the folder may lead elsewhere: they are the user's own; names in a list are not.

    Raises:
        DataError: the name is absolute, climbs out with `..`, or holds a NUL byte.

    Example:
        >>> inside(Path("data"), "images/a.jpg").as_posix()
        'data/images/a.jpg'
        >>> inside(Path("data"), "../secret.jpg")
        Traceback (most recent call last):
        kdlens.errors.DataError: the list of files in data names '../secret.jpg', which leads out of the folder; refused
    """
    parts = relative.replace("\\", "/").split("/")
    drive = len(parts[0]) == 2 and parts[0].endswith(":")
    if not relative or relative.startswith(("/", "\\")) or ".." in parts or drive or "\0" in relative:
        raise DataError(
            f"the list of files in {shown(folder)} names {relative!r}, which leads out of the folder; refused"
        )
    return folder.joinpath(*parts)


def open_image(path: Path, mode: str | None = "RGB") -> Any:
    """Decode an image file completely.

    Args:
        path: the file.
        mode: PIL mode to convert to; `None` keeps the file's own (for label images).

    Raises:
        DataError: missing, truncated, not an image, or so large that decoding it could exhaust memory; names the file.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
            return image if mode is None or image.mode == mode else eight_bit(image).convert(mode)
    except FileNotFoundError as error:
        raise DataError(f"there is no image {shown(path)}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{shown(path)} claims to be implausibly large and was not decoded: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"{shown(path)} is truncated or not an image: {error}") from error


def eight_bit(image: Any) -> Any:
    """Return a PIL image with 16 bits a pixel as one with 8; PIL itself would cut everything above 255."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.float64) / 257
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8))


def read_lines(path: Path) -> list[str]:
    """Lines of a text file without their ends; blank ones are left out.

    Raises:
        DataError: the file is missing or not text.
    """
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {shown(path)}: {error}") from error
