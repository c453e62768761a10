"""What a foreign dataset says about an image in one category, in the ways people write it down."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from kdlens.data.concepts.vocabulary import LARGEST_LABEL
from kdlens.errors import DataError

_EXPECTED = (
    "expected label numbers (h, w) or (c, h, w), {name: mask}, a name or a list of names, or a label number; "
    "None where nothing is known"
)
Label = int | str
"""A label as the dataset writes it: its number within the category, from 1, or its name."""


class Channel(NamedTuple):
    """A mask: label numbers; or, of one label by name, 1 where it is."""

    pixels: Int[Tensor, "h w"]
    name: str | None = None


class Value(NamedTuple):
    """Labels of one image in one category: masks, and labels of the whole image."""

    channels: list[Channel]
    whole: list[Label]

    def labels(self) -> list[Label]:
        """Every label that occurs, once."""
        found: list[Label] = list(self.whole)
        for pixels, name in self.channels:
            found += [value for value in pixels.unique().tolist() if value] if name is None else [name]
        return list(dict.fromkeys(found))


def read_value(value: Any, where: str) -> Value:
    """Read what a dataset says of an image in one category.

    Args:
        value: an int array `(h, w)` or `(c, h, w)` of labels from 1 (0 is none), a dict of masks by name, names or
            numbers of labels of the whole image, or None.
        where: what to call it in an error.

    Raises:
        DataError: it is none of these, or holds NaN, fractions or negative labels.

    Example:
        >>> read_value(["forest"], "scene of image 0"), read_value(np.array([[0, 2]]), "object of image 0").labels()
        (Value(channels=[], whole=['forest']), [2])
    """
    if value is None:
        return Value([], [])
    if isinstance(value, Mapping):
        return Value([Channel(_mask(mask, name, where), _name(name, where)) for name, mask in value.items()], [])
    if isinstance(value, str) or _is_int(value):
        value = [value]
    if isinstance(value, (list, tuple)):
        labels = [_whole(label, where) for label in value]
        return Value([], [label for label in labels if label])
    pixels = _integers(_tensor(value, where), where)
    if pixels.ndim == 0:
        return Value([], [int(pixels)] if pixels else [])
    if pixels.ndim not in (2, 3) or pixels.numel() == 0:
        raise DataError(f"{where} has shape {tuple(pixels.shape)}; {_EXPECTED}")
    if pixels.ndim == 3 and pixels.shape[0] > 4 >= pixels.shape[2]:
        raise DataError(f"{where} has shape {tuple(pixels.shape)}, channels last; expected (c, h, w)")
    return Value([Channel(channel) for channel in pixels.reshape(-1, *pixels.shape[-2:])], [])


def _is_int(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _whole(label: Any, where: str) -> Label:
    if isinstance(label, str):
        return _name(label, where)
    if not _is_int(label):
        raise DataError(f"{where} is a list with {_told(label)} in it; {_EXPECTED}")
    return int(_integers(torch.tensor(int(label)), where))


def _name(name: Any, where: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise DataError(f"{where} has {_told(name)} for a name; expected text")
    return name.strip()


def _mask(mask: Any, name: Any, where: str) -> Int[Tensor, "h w"]:
    """1 where a mask of any kind is not zero."""
    values = _tensor(mask, f'mask "{name}" of {where}')
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or values.numel() == 0:
        raise DataError(f'mask "{name}" of {where} has shape {tuple(values.shape)}; expected (h, w)')
    return (values != 0).int()


def _tensor(value: Any, where: str) -> Tensor:
    """Numbers as a tensor on the CPU, without NaN."""
    if hasattr(value, "getbands"):  # of PIL; the values of a palette image are its labels
        value = np.array(value)
        if value.ndim != 2:
            raise DataError(f"{where} is an image with {value.shape[2]} bands; expected one band, of label numbers")
    if isinstance(value, (np.ndarray, np.generic)) and np.asarray(value).dtype.kind in "biuf":
        value = torch.from_numpy(np.array(value, dtype=np.float64 if value.dtype.kind == "f" else np.int64))
    if not isinstance(value, Tensor) or value.is_complex():
        raise DataError(f"{where} is {_told(value)}; {_EXPECTED}")
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise DataError(f"{where} holds NaN or infinite values; {_EXPECTED}")
    value = value.detach().cpu()
    return value if value.is_floating_point() else value.long()


def _integers(values: Tensor, where: str) -> Int[Tensor, "*shape"]:
    if values.is_floating_point() and (values != values.round()).any():
        raise DataError(f"{where} holds fractions; labels are whole numbers: resize them to the nearest pixel")
    if values.numel() and values.min() < 0:
        raise DataError(f"{where} holds the label {int(values.min())}; labels count from 1, and 0 is none")
    if values.numel() and values.max() > LARGEST_LABEL:
        raise DataError(f"{where} holds the label {int(values.max())}; the largest that can be is {LARGEST_LABEL}")
    return values.int()


def _told(value: Any) -> str:
    kind = type(value).__name__
    return f"{value!r} ({kind})" if isinstance(value, (int, float, str, bool)) else f"a {kind}"
