"""CIFAR-10 and CIFAR-100 from either version that is published: Python pickles or binary records.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdlens.data.files import folder_of, one_of, read_lines, shown
from kdlens.data.memory import InMemory
from kdlens.data.unpickle import read_plain_pickle
from kdlens.errors import DataError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
Version = Literal["auto", "python", "binary"]
_PIXELS = 3 * 32 * 32
_LAYOUT_10 = """Expected one of these folders, or the folder it lies in:
  cifar-10-batches-py/   data_batch_1 ... data_batch_5  test_batch  batches.meta
  cifar-10-batches-bin/  data_batch_1.bin ... data_batch_5.bin  test_batch.bin  batches.meta.txt
Get it from https://www.cs.toronto.edu/~kriz/cifar.html"""
_LAYOUT_100 = """Expected one of these folders, or the folder it lies in:
  cifar-100-python/  train  test  meta
  cifar-100-binary/  train.bin  test.bin  fine_label_names.txt  coarse_label_names.txt
Get it from https://www.cs.toronto.edu/~kriz/cifar.html"""


class CIFAR10(InMemory):
    """CIFAR-10: 50,000 training and 10,000 test images, 32x32 colour, ten classes.

    Args:
        root: `cifar-10-batches-py`, `cifar-10-batches-bin`, or the folder either lies in.
        split: `"train"` or `"test"`.
        version: which version to read; `"auto"` takes the one that is there.

    Raises:
        DataError: a file is missing, truncated or of the wrong kind; the message shows the layout.
        UnsafeFileError: a pickle would run code.
    """

    def __init__(
        self, root: str | os.PathLike[str] | None = None, split: str = "test", *, version: Version = "auto"
    ) -> None:
        one_of(split, ("train", "test"), "split", "cifar10")
        folders = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}
        folder, found = _find(root, folders, ("test_batch", "test_batch.bin"), version, _LAYOUT_10, "cifar10")
        names = [f"data_batch_{i}" for i in range(1, 6)] if split == "train" else ["test_batch"]
        suffix = ".bin" if found == "binary" else ""
        folder_of(folder, [name + suffix for name in names], _LAYOUT_10, "cifar10")
        if found == "python":
            parts = [_from_pickle(folder / name, ("labels",)) for name in names]
        else:
            parts = [_from_records(folder / f"{name}.bin", 1) for name in names]
        images, labels = torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts])
        classes = _class_names(folder, found, "batches.meta", "label_names", CIFAR10_CLASSES)
        _check_labels(labels[:, 0], classes, folder)
        mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
        super().__init__(images, labels[:, 0], classes, name="cifar10", mean=mean, std=std)


class CIFAR100(InMemory):
    """CIFAR-100: 50,000 training and 10,000 test images, 32x32 colour, 100 classes in 20 groups of five.

    Args:
        root: `cifar-100-python`, `cifar-100-binary`, or the folder either lies in.
        split: `"train"` or `"test"`.
        labels: `"fine"` (100 classes) or `"coarse"` (20 groups).
        version: which version to read; `"auto"` takes the one that is there.

    Attributes:
        fine_labels: `(n,)` int64, whatever `labels` is.
        coarse_labels: `(n,)` int64.
        fine_classes: names of the 100 classes.
        coarse_classes: names of the 20 groups.

    Raises:
        DataError: a file is missing, truncated or of the wrong kind; the message shows the layout.
        UnsafeFileError: a pickle would run code.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "test",
        *,
        labels: Literal["fine", "coarse"] = "fine",
        version: Version = "auto",
    ) -> None:
        one_of(split, ("train", "test"), "split", "cifar100")
        one_of(labels, ("fine", "coarse"), "labels", "cifar100")
        folders = {"python": "cifar-100-python", "binary": "cifar-100-binary"}
        folder, found = _find(root, folders, ("test", "test.bin"), version, _LAYOUT_100, "cifar100")
        binary = found == "binary"
        folder_of(folder, [f"{split}.bin" if binary else split], _LAYOUT_100, "cifar100")
        if binary:
            part = _from_records(folder / f"{split}.bin", 2)
        else:
            part = _from_pickle(folder / split, ("coarse_labels", "fine_labels"))
        self.coarse_labels, self.fine_labels = part.labels[:, 0], part.labels[:, 1]
        self.coarse_classes = _class_names(folder, found, "meta", "coarse_label_names", _numbered(20))
        self.fine_classes = _class_names(folder, found, "meta", "fine_label_names", _numbered(100))
        _check_labels(self.fine_labels, self.fine_classes, folder)
        _check_labels(self.coarse_labels, self.coarse_classes, folder)
        fine = labels == "fine"
        chosen, classes = (self.fine_labels, self.fine_classes) if fine else (self.coarse_labels, self.coarse_classes)
        mean, std = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
        super().__init__(part.images, chosen, classes, name="cifar100", mean=mean, std=std)


class _Part(NamedTuple):
    images: Tensor  # (n, 3, 32, 32) uint8
    labels: Tensor  # (n, kinds of labels) int64


def _find(
    root: str | os.PathLike[str] | None,
    folders: dict[str, str],
    marks: Sequence[str],
    version: Version,
    layout: str,
    name: str,
) -> tuple[Path, str]:
    """The folder with the files, and which version they are of."""
    one_of(version, ("auto", "python", "binary"), "version", name)
    given = folder_of(root, (), layout, name)
    for kind, mark in zip(("python", "binary"), marks, strict=True):
        if version in ("auto", kind):
            for folder in (given, given / folders[kind]):
                if (folder / mark).is_file():
                    return folder, kind
    raise DataError(f"{name}: {shown(given)} holds no {' and no '.join(marks)}.\n{layout}")


def _from_pickle(path: Path, keys: Sequence[str]) -> _Part:
    content = read_plain_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{shown(path)} holds a {type(content).__name__}; expected a dict of data and labels")
    content = _text_keys(content)
    data = content.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _PIXELS:
        seen = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise DataError(f"{shown(path)} holds data of {seen}; expected uint8 (n, {_PIXELS})")
    columns = [torch.as_tensor(_label_list(content.get(key), len(data), key, path)) for key in keys]
    return _Part(torch.from_numpy(data.reshape(-1, 3, 32, 32).copy()), torch.stack(columns, 1))


def _from_records(path: Path, label_bytes: int) -> _Part:
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{shown(path)} cannot be read: {error}") from error
    size = label_bytes + _PIXELS
    if len(content) == 0 or len(content) % size:
        raise DataError(f"{shown(path)} is truncated: {len(content)} bytes are no whole number of records of {size}")
    records = torch.from_numpy(content.reshape(-1, size))
    return _Part(records[:, label_bytes:].reshape(-1, 3, 32, 32).clone(), records[:, :label_bytes].long())


def _class_names(folder: Path, version: str, meta: str, key: str, default: Sequence[str]) -> list[str]:
    """Names from the files where they are there; the images can be used without."""
    if version == "binary":
        file = folder / ("batches.meta.txt" if key == "label_names" else f"{key}.txt")
        return [line.strip() for line in read_lines(file)] if file.is_file() else list(default)
    if not (folder / meta).is_file():
        return list(default)
    content = read_plain_pickle(folder / meta)
    names = _text_keys(content).get(key) if isinstance(content, dict) else None
    if not isinstance(names, list) or not names:
        raise DataError(f"{shown(folder / meta)} holds no list {key}")
    return [_text(name) for name in names]


def _label_list(labels: Any, count: int, key: str, path: Path) -> list[int]:
    values = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not isinstance(values, list) or len(values) != count or not all(isinstance(v, int) for v in values):
        raise DataError(f"{shown(path)} does not hold {count} integers as {key}, one for each image")
    return values


def _check_labels(labels: Tensor, classes: Sequence[str], folder: Path) -> None:
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
        raise DataError(f"{shown(folder)} holds the label {int(labels.max())}, but there are {len(classes)} classes")


def _text_keys(content: dict[Any, Any]) -> dict[str, Any]:
    return {_text(key): value for key, value in content.items()}


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def _numbered(count: int) -> list[str]:
    return [str(i) for i in range(count)]
