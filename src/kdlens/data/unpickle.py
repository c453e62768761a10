"""Reading pickles of numpy arrays, dicts, lists, text and numbers, and nothing else.

A pickle is a program. Here the names it may use stand for a few functions that check their arguments and make arrays of
numbers; numpy's own constructors are never within its reach.
"""

import io
import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kdlens.data.files import shown
from kdlens.errors import DataError, UnsafeFileError

_NUMERIC = re.compile(r"[|<>=]?[biuf][1248]")


def read_plain_pickle(path: Path) -> Any:
    """Read a pickle that holds plain data, written by Python 2 or 3.

    Text of Python 2 comes back as `str`, with one character a byte.

    Raises:
        UnsafeFileError: it asks for anything but arrays of numbers; the message names what, and nothing has been run.
        DataError: it is missing, truncated or not a pickle.
    """
    try:
        return _finished(_PlainUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load())
    except UnsafeFileError as error:
        raise UnsafeFileError(f"{shown(path)} {error}; it was not opened. Get it from its publisher again") from None
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error}") from error
    except _NOT_A_PICKLE as error:
        raise DataError(f"{shown(path)} is truncated or not a pickle of plain data: {error}") from error


_NOT_A_PICKLE = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError, AttributeError, ImportError, MemoryError,
    OverflowError, RecursionError,
)  # fmt: skip


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _ALLOWED.get((module.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise UnsafeFileError(
                f'asks for "{module}.{name}", which plain data does not need and which could run code'
            )
        return found

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafeFileError("asks for an object outside the file")


class _Function:
    """A function that the pickle can call but not change."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        raise UnsafeFileError("tries to change a function")


class _Type:
    """Stands for the dtype of an array of numbers."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, *flags: Any) -> None:
        text = code.decode("latin1") if isinstance(code, bytes) else code
        if not isinstance(text, str) or not _NUMERIC.fullmatch(text):
            raise UnsafeFileError(f"holds an array of {text!r} instead of numbers")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):  # the rest of the state describes structured types
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array until its contents have come."""

    __slots__ = ("value",)

    def __init__(self, *ignored: Any) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        self.value = _numbers(data, kind, shape, "F" if fortran else "C")


def _numbers(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    if not isinstance(kind, _Type) or not isinstance(shape, tuple):
        raise UnsafeFileError("holds an array of an unusual kind")
    if math.prod(shape) * kind.dtype.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} has {len(raw)} bytes")
    return np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.value = _numbers(data, kind, shape, order)
    return array


def _scalar(kind: Any, data: Any) -> Any:
    return _numbers(data, kind, (1,), "C")[0].item()


def _latin1(text: Any, encoding: Any = "latin1") -> bytes:
    """What Python 3 writes for bytes in an old protocol."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise UnsafeFileError("holds bytes in an unusual encoding")
    return text.encode("latin1")


def _finished(value: Any) -> Any:
    """Put the arrays in place of what stood for them."""
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, dict):
        return {key: _finished(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_finished(entry) for entry in value)
    return value


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Function(_Array),
    ("numpy.core.multiarray", "scalar"): _Function(_scalar),
    ("numpy.core.numeric", "_frombuffer"): _Function(_from_buffer),
    ("numpy", "ndarray"): _Function(_Array),
    ("numpy", "dtype"): _Function(_Type),
    ("_codecs", "encode"): _Function(_latin1),
}
