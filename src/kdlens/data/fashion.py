"""Fashion-MNIST: the part that comes with the package, and the whole from its idx files.

Source: Xiao, Rasul and Vollgraf, arXiv 1708.07747; MIT licence, copyright Zalando SE.
"""

import functools
import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor

from kdlens.data.files import folder_of, one_of
from kdlens.data.idx import find_idx, read_idx
from kdlens.data.memory import InMemory
from kdlens.errors import DataError

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
MEAN, STD = (0.286,), (0.353,)
_HALO = 16  # of 255: the noise around a garment stays below
_LAYOUT = """Expected, gzipped or not, in the folder or in FashionMNIST/raw below it:
  train-images-idx3-ubyte.gz  train-labels-idx1-ubyte.gz
  t10k-images-idx3-ubyte.gz   t10k-labels-idx1-ubyte.gz
Get them from https://github.com/zalandoresearch/fashion-mnist"""


class Fashion(InMemory):
    """The embedded part of Fashion-MNIST: 6,000 training and 2,000 test images, 28x28 grey, every class equally often.

    Test images come from the published test split. The classes take turns, so any prefix is as balanced as it can be.
    The mask of an item is its garment, see `garment_masks`.

    Args:
        split: `"train"` or `"test"`.

    Raises:
        DataError: no such split.

    Example:
        >>> data = Fashion("test")
        >>> len(data), data.labels[:4].tolist(), data[0].mask.shape
        (2000, [0, 1, 2, 3], torch.Size([28, 28]))
    """

    def __init__(self, split: str = "test") -> None:
        one_of(split, ("train", "test"), "split", "fashion")
        images = embedded_pixels(split)
        labels = torch.arange(len(images)) % len(FASHION_CLASSES)
        masks = garment_masks(images)
        super().__init__(images[:, None], labels, FASHION_CLASSES, masks, name="fashion", mean=MEAN, std=STD)


class FashionMNIST(InMemory):
    """Fashion-MNIST (or any dataset in MNIST's files with ten classes) from its idx files.

    Args:
        root: folder of the files.
        split: `"train"` (60,000) or `"test"` (10,000).
        masks: give the garment as mask; only sensible for dark backgrounds.

    Raises:
        DataError: a file is missing, truncated or of the wrong kind; the message shows the layout.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, split: str = "test", *, masks: bool = True) -> None:
        one_of(split, ("train", "test"), "split", "fashion-mnist")
        folder = folder_of(root, (), _LAYOUT, "fashion-mnist")
        if (folder / "FashionMNIST" / "raw").is_dir():
            folder = folder / "FashionMNIST" / "raw"
        prefix = "train" if split == "train" else "t10k"
        images = read_idx(_file(folder, f"{prefix}-images-idx3-ubyte"), 3)
        labels = read_idx(_file(folder, f"{prefix}-labels-idx1-ubyte"), 1)
        if len(images) != len(labels):
            raise DataError(f"fashion-mnist: {len(images)} images but {len(labels)} labels in {folder}")
        if len(labels) and labels.max() >= len(FASHION_CLASSES):
            raise DataError(f"fashion-mnist: label {int(labels.max())} in {folder}; expected 0 to 9")
        garments = garment_masks(images) if masks else None
        name = "fashion-mnist"
        super().__init__(images[:, None], labels, FASHION_CLASSES, garments, name=name, mean=MEAN, std=STD)


@functools.cache
def embedded_pixels(split: str) -> UInt8[Tensor, "n 28 28"]:
    """Pixels of the embedded images, in order; image i is of class i modulo 10. Shared: do not write into it."""
    with (files("kdlens.data") / "assets" / "fashion.npz").open("rb") as file:
        return torch.from_numpy(np.load(file, allow_pickle=False)[split])


def garment_masks(images: UInt8[Tensor, "n h w"]) -> Bool[Tensor, "n h w"]:
    """The garment in each image, `(n, h, w)`.

    The published images lie on black with a faint halo of rounding noise, and dark garments have black pixels. So: what
    is brighter than the halo, without lone pixels, with gaps of one or two pixels closed.
    """
    bright = (images[:, None] > _HALO).float()
    company = F.avg_pool2d(bright, 3, stride=1, padding=1, divisor_override=1)
    grown = F.max_pool2d(F.pad(bright * (company >= 3), (2, 2, 2, 2)), 3, stride=1)
    return -F.max_pool2d(-grown, 3, stride=1)[:, 0] > 0


def _file(folder: Path, stem: str) -> Path:
    found = find_idx(folder, stem)
    if found is None:
        raise DataError(f"fashion-mnist: {folder} holds no {stem}.\n{_LAYOUT}")
    return found
