"""One item of a dataset, and the ways foreign datasets write it down."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kdlens.data.files import eight_bit
from kdlens.errors import DataError

_EXPECTED = "expected (image, label), (image, label, mask) or a dict with the keys image, label and, if any, mask"


class Item(NamedTuple):
    """An image `(C, H, W)` float32, its label, and where there is one the mask `(H, W)` bool of its object."""

    image: Tensor
    label: int
    mask: Tensor | None = None


class Raw(NamedTuple):
    """An item whose image is a tensor, and whether its pixels were integers (so that nothing normalised them yet)."""

    item: Item
    pixels: bool


def to_item(raw: Any, where: str) -> Raw:
    """Read an item however its dataset wrote it.

    Args:
        raw: `(image, label)`, `(image, label, mask)` or a dict. The image is a tensor `(C, H, W)`, a PIL image or a
            uint8 array `(H, W)` or `(H, W, C)`. Integer pixels become float32 in [0, 1]; floats stay as they are.
        where: what to call the item in an error, e.g. `"image 3 of fashion"`.

    Raises:
        DataError: it is none of these, has more or fewer dimensions, or holds NaN.

    Example:
        >>> to_item((np.zeros((4, 6, 3), dtype=np.uint8), 2), "image 0").item.image.shape
        torch.Size([3, 4, 6])
    """
    image, label, mask = _parts(raw, where)
    tensor, pixels = to_image(image, where)
    return Raw(Item(tensor, to_label(label, where), to_mask(mask, tensor, where)), pixels)


def to_image(image: Any, where: str) -> tuple[Tensor, bool]:
    """Return the image `(C, H, W)` float32, and whether its pixels were integers."""
    if isinstance(image, np.ndarray):
        image = _from_array(image, where)
    elif hasattr(image, "getbands"):
        image = _from_pil(image)
    if not isinstance(image, Tensor):
        raise DataError(f"{where} is a {type(image).__name__}; expected a tensor, a PIL image or a uint8 array")
    if image.ndim == 4:
        raise DataError(
            f"{where} has shape {tuple(image.shape)}, a batch; expected one image (C, H, W): give the dataset itself, "
            "or a DataLoader, instead of a list of batches"
        )
    if image.ndim != 3 or image.numel() == 0:
        raise DataError(f"{where} has shape {tuple(image.shape)}; expected (C, H, W)")
    if image.shape[0] > 4 >= image.shape[2]:
        raise DataError(f"{where} has shape {tuple(image.shape)}, channels last; expected (C, H, W): permute(2, 0, 1)")
    if image.dtype == torch.uint8:
        return image.float() / 255, True
    if not image.is_floating_point():
        raise DataError(f"{where} has dtype {image.dtype}; expected uint8 pixels or floating point")
    if not torch.isfinite(image).all():
        raise DataError(f"{where} holds NaN or infinite values; check the transform of the dataset")
    return image.detach().float().cpu(), False


def to_label(label: Any, where: str) -> int:
    """Return the label as an int; one-hot rows and floats are refused rather than rounded."""
    if isinstance(label, (Tensor, np.ndarray)):
        if label.size != 1 if isinstance(label, np.ndarray) else label.numel() != 1:
            raise DataError(f"{where} has a label of shape {tuple(label.shape)}; expected one class index")
        label = label.item()
    if isinstance(label, (bool, np.bool_)) or not isinstance(label, (int, np.integer)):
        raise DataError(f"{where} has the label {label!r}; expected a class index (int)")
    return int(label)


def to_mask(mask: Any, image: Tensor, where: str) -> Tensor | None:
    """Return the mask as `(H, W)` bool of the image's size; any non-zero value counts as object."""
    if mask is None:
        return None
    if hasattr(mask, "getbands") or isinstance(mask, np.ndarray):
        mask = torch.from_numpy(np.array(mask))
    if not isinstance(mask, Tensor):
        raise DataError(f"the mask of {where} is a {type(mask).__name__}; expected a tensor, an array or a PIL image")
    if mask.ndim == 3 and mask.shape[0] == 1:
        mask = mask[0]
    if mask.shape != image.shape[1:]:
        raise DataError(f"the mask of {where} has shape {tuple(mask.shape)}; expected {tuple(image.shape[1:])}")
    return (mask != 0).cpu()


def _parts(raw: Any, where: str) -> tuple[Any, Any, Any]:
    if isinstance(raw, Mapping):
        if "image" not in raw or "label" not in raw:
            raise DataError(f"{where} is a dict with the keys {sorted(map(str, raw))}; {_EXPECTED}")
        return raw["image"], raw["label"], raw.get("mask")
    if isinstance(raw, (tuple, list)) and len(raw) in (2, 3):
        return raw[0], raw[1], raw[2] if len(raw) == 3 else None
    size = f" of {len(raw)}" if isinstance(raw, (tuple, list)) else ""
    raise DataError(f"{where} is a {type(raw).__name__}{size}; {_EXPECTED}")


def _from_array(image: np.ndarray, where: str) -> Tensor:
    if image.dtype != np.uint8:
        raise DataError(f"{where} is a {image.dtype} array; expected uint8 (H, W, C), or a float tensor (C, H, W)")
    if image.ndim not in (2, 3):
        raise DataError(f"{where} is an array of shape {image.shape}; expected (H, W) or (H, W, C)")
    if image.ndim == 3 and image.shape[2] > 4:
        raise DataError(f"{where} is an array of shape {image.shape}; expected channels last, (H, W, C)")
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return torch.from_numpy(np.array(planes))  # a copy: the array may be read-only or strided


def _from_pil(image: Any) -> Tensor:
    """Grey images keep one channel, all others (palette, alpha, CMYK) become RGB."""
    image = eight_bit(image)
    array = np.array(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())
