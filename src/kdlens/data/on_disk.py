"""Datasets of image files: decoded when asked for, labels known before."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from kdlens.data.files import open_image, shown
from kdlens.data.items import Item
from kdlens.errors import DataError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class OnDisk:
    """Base of the readers of image files.

    Args:
        files: one image file an item.
        labels: class indices.
        classes: class names.
        name: of the dataset.
        mean: recommended per-channel mean to subtract.
        std: recommended per-channel standard deviation to divide by.

    Attributes:
        files: as given.
        labels: `(n,)` int64.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: Sequence[int],
        classes: Sequence[str],
        *,
        name: str,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        if not files:
            raise DataError(f"{name}: there are no images in this split")
        self.files = list(files)
        self.labels = torch.tensor(list(labels), dtype=torch.int64)
        self.classes = list(classes)
        self.name = name
        self.mean = mean
        self.std = std

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Item:
        pixels = torch.from_numpy(np.array(open_image(self.files[index]))).permute(2, 0, 1)
        mask = self.mask(index, (pixels.shape[1], pixels.shape[2]))
        return Item(pixels.contiguous().float() / 255, int(self.labels[index]), mask)

    def mask(self, index: int, size: tuple[int, int]) -> Bool[Tensor, "h w"] | None:
        """Mask of the object in one image of height and width `size`; `None` where the dataset has none."""
        return None


def label_image(path: Path, size: tuple[int, int]) -> Tensor:
    """Read a label image (palette or grey) as `(h, w)` uint8.

    Raises:
        DataError: it cannot be read, or is not of its image's size.
    """
    image = open_image(path, mode=None)
    if image.mode not in ("P", "L", "1"):
        image = image.convert("L")
    values = torch.from_numpy(np.array(image, dtype=np.uint8))
    if tuple(values.shape) != size:
        raise DataError(f"{shown(path)} is {tuple(values.shape)}, but its image is {size}")
    return values


def box_mask(box: tuple[float, float, float, float], size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """Mask of a box `(left, top, right, bottom)` in pixels from 0, right and bottom excluded; at least one pixel.

    Example:
        >>> box_mask((1, 0, 3, 2), (4, 4)).sum().item()
        4
    """
    height, width = size
    left, top = min(max(round(box[0]), 0), width - 1), min(max(round(box[1]), 0), height - 1)
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top : max(round(box[3]), top + 1), left : max(round(box[2]), left + 1)] = True
    return mask
