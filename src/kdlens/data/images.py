"""Images: what a study works on. Any dataset, with its images as the networks take them."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from kdlens.data.concepts.annotated import ConceptData
from kdlens.data.concepts.own import own_concepts
from kdlens.data.concepts.part import Part
from kdlens.data.items import Item, Raw, to_item
from kdlens.data.loaders import has_own_collate
from kdlens.data.resize import Fit, Size, fit_image, fit_mask, side_lengths
from kdlens.data.sources import classes_of, file_of, labels_of, map_style, name_of
from kdlens.errors import DataError

__all__ = ["Images", "Item", "as_images"]

_FINGERPRINTED = 64


class Images:
    """A dataset with its images as the networks take them.

    Args:
        dataset: map-style dataset of `Item`, `(image, label)`, `(image, label, mask)` or dicts of these; images are
            tensors `(C, H, W)`, PIL images or uint8 arrays. Integer pixels become [0, 1] first.
        mean: per-channel mean to subtract.
        std: per-channel standard deviation to divide by.
        classes: class names, where the dataset has none.
        size: side length, or (height, width), to bring images and masks to.
        fit: `"crop"` scales until the size is covered and cuts the centre out; `"stretch"` changes the proportions.
        normalised: float images of the dataset had `mean` and `std` applied already, so these serve the display only.

    Attributes:
        classes: class names.
        named: whether the names were given or come with the dataset; else they are numbers up to the largest label.
        labels: `(n,)` int64.
        name: name of the dataset.
        mean: as given.
        std: as given.

    Raises:
        DataError: no images, an item or image of the wrong kind, a label outside the classes, or a mean and std that
            do not fit the channels.

    Example:
        >>> images = Images([(torch.rand(3, 8, 8), 0), (torch.rand(3, 8, 8), 1)], mean=[0.5], std=[0.25], size=4)
        >>> x, y, masks = images.batch(torch.tensor([0, 1]))
        >>> x.shape, y, masks, images.display(x).shape
        (torch.Size([2, 3, 4, 4]), tensor([0, 1]), None, torch.Size([2, 4, 4, 3]))
    """

    def __init__(
        self,
        dataset: Any,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        classes: Sequence[str] | None = None,
        size: Size | None = None,
        fit: Fit = "crop",
        normalised: bool = False,
    ) -> None:
        self.dataset = map_style(dataset)
        self.name = name_of(self.dataset)
        self.mean, self.std = _checked_scale(mean, std)
        self._size = None if size is None else side_lengths(size)
        self._fit = fit
        self._normalised = normalised
        if len(self.dataset) == 0:
            raise DataError(f"{self.name} holds no images")
        self._index = torch.arange(len(self.dataset))
        self._check_channels(self._raw(0).item.image)
        self._all_labels = labels_of(self.dataset, lambda i: self._raw(i).item)
        known = [str(name) for name in classes] if classes is not None else classes_of(self.dataset)
        self.named = known is not None
        self._check_labels(known)
        self.classes = known if known is not None else _numbers(int(self._all_labels.max()) + 1)

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """Labels of all images, int64 on the CPU."""
        return self._all_labels[self._index]

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self[0].image.shape))
        return f"Images({self.name!r}, {len(self):,} of {shape}, {len(self.classes)} classes)"

    def __getitem__(self, index: int) -> Item:
        raw = self._raw(int(self._index[index]))
        image, label, mask = raw.item
        return Item(self._prepared(image[None], pixels=raw.pixels)[0], label, self._fitted_mask(mask))

    def batch(
        self, indices: Int[Tensor, " m"]
    ) -> tuple[Float[Tensor, "m c h w"], Int[Tensor, " m"], Bool[Tensor, "m h w"] | None]:
        """Images as the networks take them, labels, and masks (None unless every image has one).

        Raises:
            DataError: the images are not of one size and no `size` was asked for.
        """
        indices = torch.as_tensor(indices).long()
        if hasattr(self.dataset, "gather"):
            x, y, masks = self.dataset.gather(self._index[indices])
            return self._prepared(x, pixels=False), y, None if masks is None else self._fitted_mask(masks)
        items = [self[i] for i in indices.tolist()]
        shapes = {tuple(item.image.shape) for item in items}
        if len(shapes) > 1:
            raise DataError(f"images of {self.name} differ in size ({_few(shapes)}); give a size, e.g. size=224")
        masks = [item.mask for item in items if item.mask is not None]
        return (
            torch.stack([item.image for item in items]) if items else self[0].image[None][:0],
            torch.tensor([item.label for item in items], dtype=torch.int64),
            torch.stack(masks) if items and len(masks) == len(items) else None,
        )

    def display(self, x: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n h w 3"]:
        """Network inputs back to pictures.

        The normalisation is undone. Where it is unknown, values within [0, 1] are shown as they are and others are
        stretched from the smallest to the largest of the set, so that images of one call stay comparable.
        """
        x = x.detach().float().cpu()
        if self.mean is not None and self.std is not None:
            x = x * _per_channel(self.std) + _per_channel(self.mean)
        elif x.numel() and (x.min() < 0 or x.max() > 1):
            x = (x - x.min()) / (x.max() - x.min()).clamp_min(1e-12)
        if x.shape[1] < 3:
            x = x.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        return (x[:, :3].nan_to_num(0).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).contiguous()

    def annotated(self) -> ConceptData | None:
        """The same images in [0, 1] with the concepts kdlens knows of them, in this order; `None` where it knows none.

        Raises:
            DataError: the dataset's folder lacks the annotations.
        """
        found = own_concepts(self.dataset)
        return None if found is None else Part(found[0], found[1][self._index], size=self._size, fit=self._fit)

    def scaled(self, x: Float[Tensor, "m c h w"]) -> Float[Tensor, "m c2 h2 w2"]:
        """Other images in [0, 1] as the networks take these: of their size (stretched), channels and normalisation.

        Raises:
            DataError: these are normalised, and nobody said how.
        """
        first = self[0].image
        if self.mean is None and bool((first.min() < 0) | (first.max() > 1)):
            raise DataError(f"images of {self.name} are not in [0, 1]; give the mean and std they were normalised with")
        if x.shape[1] != first.shape[0]:
            x = x.mean(1, keepdim=True).expand(-1, first.shape[0], -1, -1)
        x = fit_image(x, (first.shape[1], first.shape[2]), "stretch")
        if self.mean is None or self.std is None:
            return x
        return (x - _per_channel(self.mean)) / _per_channel(self.std)

    def fingerprint(self) -> str:
        """SHA-256 over count, classes, labels, and the bytes of at most 64 evenly spaced images with their masks."""
        digest = hashlib.sha256(repr((len(self), self.classes)).encode())
        digest.update(self.labels.numpy().tobytes())
        for i in torch.linspace(0, len(self) - 1, min(_FINGERPRINTED, len(self))).long().tolist():
            image, _, mask = self[i]
            digest.update(repr(tuple(image.shape)).encode() + image.contiguous().numpy().tobytes())
            digest.update(b"" if mask is None else mask.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def subset(self, indices: Int[Tensor, " m"] | Sequence[int]) -> "Images":
        """The images at `indices`, in that order.

        Raises:
            DataError: no index, or one that is out of range.
        """
        indices = torch.as_tensor(indices).long()
        if indices.numel() == 0:
            raise DataError(f"a subset of {self.name} needs at least one image")
        if indices.min() < -len(self) or indices.max() >= len(self):
            raise DataError(f"{self.name} has {len(self)} images; index {indices.abs().max()} does not exist")
        part = object.__new__(Images)
        part.__dict__.update(self.__dict__)
        part._index = self._index[indices]
        return part

    def of_outputs(self, count: int) -> "Images":
        """The same images for networks of `count` outputs, where nobody named the classes.

        The largest label says too little where images of the last class are missing.

        Raises:
            DataError: labels that count from 1, or that the networks do not reach.
        """
        if self.named:
            return self
        most, least = int(self.labels.max()), int(self.labels.min())
        if most == count and least >= 1:
            raise DataError(
                f"the labels of {self.name} run from {least} to {most}, but the networks have {count} outputs; labels "
                "count from 0: subtract 1"
            )
        if count <= len(self.classes):
            return self
        same = self.subset(torch.arange(len(self)))
        same.classes = _numbers(count)
        return same

    def _raw(self, index: int) -> Raw:
        where = f"image {index} of {self.name}"
        try:
            raw = self.dataset[index]
        except (OSError, SyntaxError) as error:  # PIL raises a SyntaxError for some broken PNG files
            file = file_of(self.dataset, index)
            raise DataError(f"{where} cannot be read{f' ({file})' if file else ''}: {error}") from error
        return to_item(raw, where)

    def _prepared(self, x: Tensor, *, pixels: bool) -> Tensor:
        if self._size is not None:
            x = fit_image(x, self._size, self._fit)
        if self.mean is None or self.std is None or (self._normalised and not pixels):
            return x
        return (x - _per_channel(self.mean)) / _per_channel(self.std)

    def _fitted_mask(self, mask: Tensor | None) -> Tensor | None:
        return mask if mask is None or self._size is None else fit_mask(mask, self._size, self._fit)

    def _check_channels(self, image: Tensor) -> None:
        channels = image.shape[0]
        if self.mean is not None and len(self.mean) not in (1, channels):
            raise DataError(f"images of {self.name} have {channels} channels, but mean and std have {len(self.mean)}")

    def _check_labels(self, names: Sequence[str] | None) -> None:
        labels = self._all_labels
        least, most = int(labels.min()), int(labels.max())
        if least < 0:
            i = int((labels < 0).nonzero()[0])
            raise DataError(
                f"image {i} of {self.name} has label {int(labels[i])}; labels count from 0: leave out images without a "
                "label"
            )
        if names is None or most < len(names):
            return
        if least >= 1 and most == len(names):
            raise DataError(
                f"the labels of {self.name} run from {least} to {most}, but there are {len(names)} class names; labels "
                "count from 0: subtract 1"
            )
        given = f"{len(names)} name{'' if len(names) == 1 else 's'}"
        i = int((labels >= len(names)).nonzero()[0])
        raise DataError(
            f"{given} for labels up to {most} (image {i} of {self.name} has label {int(labels[i])}); give one name for "
            f"each class, from 0 to {most}"
        )


def as_images(source: Any, **options: Any) -> Images:
    """Take images from whatever holds them.

    Args:
        source: `Images`, a map-style dataset, a DataLoader (its dataset is used, so shuffling does not matter), or a
            loader over a stream, which is read into memory once.
        options: as for `Images`.

    Raises:
        DataError: it holds no images, or options are given for `Images` that have been prepared already.

    Example:
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> loader = DataLoader(TensorDataset(torch.rand(10, 1, 8, 8), torch.arange(10) % 2), batch_size=4)
        >>> len(as_images(loader, classes=["cat", "dog"]))
        10
    """
    given = {name: value for name, value in options.items() if value is not None}
    if not isinstance(source, Images):
        return Images(source, **given)
    if given:
        raise DataError(f"Images are prepared already; give {', '.join(given)} where they are made")
    return source


def as_given(source: Any, **options: Any) -> Images:
    """Take a user's float images as what the networks see; pictures are normalised with `mean` and `std`.

    Pictures are integer pixels and PIL images, and the images of kdlens's own datasets, unless a loader's collate
    function has changed them. For all others `mean` and `std` serve the display only.

    Args:
        source: as for `as_images`.
        options: as for `Images`.

    Raises:
        DataError: as `as_images`.

    Example:
        >>> done_already = [((torch.rand(3, 8, 8) - 0.5) / 0.25, 0)]
        >>> torch.equal(as_given(done_already, mean=[0.5], std=[0.25])[0].image, done_already[0][0])
        True
    """
    if isinstance(source, Images):
        return as_images(source, **options)
    dataset = getattr(source, "dataset", source)  # of a loader
    pictures = type(dataset).__module__.startswith("kdlens.data.") and not has_own_collate(source)
    return as_images(source, normalised=not pictures, **options)


def _checked_scale(
    mean: Sequence[float] | None, std: Sequence[float] | None
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    if mean is None or std is None:
        if mean is not None or std is not None:
            raise DataError("give both mean and std, or neither")
        return None, None
    means, stds = tuple(float(m) for m in mean), tuple(float(s) for s in std)
    if len(means) != len(stds) or not means or any(s <= 0 for s in stds):
        raise DataError(f"mean {list(means)} and std {list(stds)} must be as long as each other, and std positive")
    return means, stds


def _numbers(count: int) -> list[str]:
    return [str(index) for index in range(count)]


def _per_channel(values: Sequence[float]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def _few(shapes: set[tuple[int, ...]]) -> str:
    shown = [" x ".join(map(str, shape)) for shape in sorted(shapes)[:3]]
    return ", ".join(shown) + (", ..." if len(shapes) > 3 else "")
