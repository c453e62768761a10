"""Datasets whose pixels are in memory as uint8."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from kdlens.data.items import Item
from kdlens.errors import DataError


class InMemory:
    """Images held as uint8, given as `Item` with the image in [0, 1].

    Args:
        images: pixels.
        labels: class indices.
        classes: names of the classes.
        masks: object masks, where there are any.
        name: name of the dataset.
        mean: recommended per-channel mean to subtract.
        std: recommended per-channel standard deviation to divide by.

    Raises:
        DataError: the parts do not fit together.

    Example:
        >>> pixels = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
        >>> data = InMemory(pixels, torch.tensor([0, 1]), ["a", "b"])
        >>> data[1].image.max(), data[1].label
        (tensor(1.), 1)
    """

    def __init__(
        self,
        images: UInt8[Tensor, "n c h w"],
        labels: Int[Tensor, " n"],
        classes: Sequence[str],
        masks: Bool[Tensor, "n h w"] | None = None,
        *,
        name: str = "images",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DataError(f"images are {images.dtype} of shape {tuple(images.shape)}; expected uint8 (n, C, H, W)")
        if labels.shape != images.shape[:1]:
            raise DataError(f"{len(images)} images but labels of shape {tuple(labels.shape)}")
        if masks is not None and masks.shape != (len(images), *images.shape[2:]):
            raise DataError(f"masks have shape {tuple(masks.shape)}; the images have {tuple(images.shape)}")
        self.images = images
        self.labels = labels.long()
        self.classes = list(classes)
        self.masks = masks
        self.name = name
        self.mean = mean
        self.std = std

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Item:
        mask = None if self.masks is None else self.masks[index]
        return Item(self.images[index].float() / 255, int(self.labels[index]), mask)

    def gather(
        self, indices: Int[Tensor, " m"]
    ) -> tuple[Float[Tensor, "m c h w"], Int[Tensor, " m"], Bool[Tensor, "m h w"] | None]:
        """Many items at once: images in [0, 1], labels, masks."""
        masks = None if self.masks is None else self.masks[indices]
        return self.images[indices].float() / 255, self.labels[indices], masks
