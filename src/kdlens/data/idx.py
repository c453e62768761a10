"""The idx file format of MNIST and its successors: a magic number, the shape, and raw bytes; plain or gzipped."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kdlens.data.files import shown
from kdlens.errors import DataError

_UINT8 = 0x08


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read a uint8 idx file.

    Args:
        path: the file, gzipped if its name ends in `.gz`.
        dimensions: how many it must have: 3 for images, 1 for labels.

    Raises:
        DataError: missing, truncated, of another type or with other dimensions.

    Source: the header is described at http://yann.lecun.com/exdb/mnist/.
    """
    content = _content(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise DataError(f"{shown(path)} is not an idx file: it must start with two zero bytes")
    if content[2] != _UINT8 or content[3] != dimensions:
        raise DataError(
            f"{shown(path)} holds type {content[2]:#04x} with {content[3]} dimensions; "
            f"expected bytes ({_UINT8:#04x}) with {dimensions}"
        )
    start = 4 + 4 * dimensions
    shape = tuple(int(side) for side in np.frombuffer(content[4:start], ">u4"))
    found, expected = len(content) - start, int(np.prod(shape, dtype=object))
    if len(shape) < dimensions or found != expected:
        raise DataError(f"{shown(path)} is truncated or padded: {expected} bytes announced, {max(found, 0)} found")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy())


def find_idx(folder: Path, stem: str) -> Path | None:
    """The idx file called `stem`, plain or gzipped, with a dash or, as some unpackers write it, a dot before `idx`."""
    for name in (stem, stem.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / (name + suffix)).is_file():
                return folder / (name + suffix)
    return None


def _content(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{shown(path)} cannot be read: {error}") from error
