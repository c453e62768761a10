"""Which images make which batch. Whole batches are asked for by index, so data in memory costs one indexing a step."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.data.images import as_images
from kdlens.errors import DataError
from kdlens.training.randomness import generator, seed_global


class Batches(Protocol):
    """Data that hands out whole batches."""

    @property
    def labels(self) -> Int[Tensor, " n"]:
        """All labels."""

    def __len__(self) -> int:
        """Number of images."""

    def batch(self, indices: Int[Tensor, " n"]) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]:
        """Return images and labels at `indices`, in that order."""


class TensorBatches:
    """Images and labels that are tensors already.

    Example:
        >>> data = TensorBatches(torch.zeros(5, 1, 4, 4), torch.arange(5))
        >>> data.batch(torch.tensor([3, 1]))[1].tolist()
        [3, 1]
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        if len(images) != len(labels):
            raise DataError(f"{len(images)} images but {len(labels)} labels")
        if labels.dim() != 1 or labels.is_floating_point():
            raise DataError(f"labels must be class indices (n,), not {labels.dtype} of shape {tuple(labels.shape)}")
        self.images, self.labels = images, labels.long()

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and labels at `indices`."""
        x = self.images[indices]
        return (x.float() / 255 if x.dtype == torch.uint8 else x), self.labels[indices]


class ImageBatches:
    """`kdlens.Images`, or anything it can be made of, without the masks."""

    def __init__(self, images: Any) -> None:
        self.images = as_images(images)
        self.labels = self.images.labels

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and labels at `indices`."""
        return self.images.batch(indices)[:2]


def as_batches(source: Any) -> TensorBatches | ImageBatches:
    """Take `(images, labels)` tensors, a TensorDataset, `Images`, any dataset `Images` can be made of, or a DataLoader.

    Raises:
        DataError: there are no images, or they cannot be used.
    """
    tensors = source if isinstance(source, tuple) else getattr(source, "tensors", None)
    if tensors is not None and len(tensors) == 2 and all(isinstance(t, Tensor) for t in tensors):
        data: TensorBatches | ImageBatches = TensorBatches(*tensors)
    else:
        data = ImageBatches(source)
    if len(data) == 0:
        raise DataError("there are no images to train on")
    return data


def split(order: Int[Tensor, " n"], batch_size: int) -> list[Tensor]:
    """Cut an order into batches; a last batch of one image joins the batch before it.

    BatchNorm has no variance over a single image, and dropping the image would make it count less than the others.

    Example:
        >>> [len(part) for part in split(torch.arange(9), 4)], [len(part) for part in split(torch.arange(7), 4)]
        ([4, 5], [4, 3])
    """
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1 and batch_size > 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Number of batches `split` makes of `count` images.

    Example:
        >>> steps_per_epoch(9, 4), steps_per_epoch(7, 4), steps_per_epoch(1, 4)
        (2, 2, 1)
    """
    full, rest = divmod(count, batch_size)
    return full if full and (rest == 0 or (rest == 1 and batch_size > 1)) else full + 1


def epoch_order(count: int, *, seed: int, epoch: int) -> Int[Tensor, " n"]:
    """Return the order of the images in an epoch; a function of seed and epoch alone."""
    return torch.randperm(count, generator=generator(seed, "order", epoch))


def shard(count: int, rank: int, processes: int) -> slice:
    """Return the part of a batch of `count` that a process takes; parts differ by one, the first never is the smaller.

    Example:
        >>> [shard(5, rank, 2) for rank in range(2)]
        [slice(0, 3, None), slice(3, 5, None)]
    """
    return slice(-(-rank * count // processes), -(-(rank + 1) * count // processes))


Asked = tuple[int, Tensor]
"""A seed for whatever the dataset draws itself, and the indices of a batch."""


def fetch(data: Batches, asked: Sequence[Asked], *, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images and labels of the batches asked for, read ahead by `workers` processes (0: in this one).

    Datasets with random transforms of their own give the same pictures for the same seed, whoever reads them.
    """
    by_batch = _ByBatch(data)
    if workers == 0:
        for one in asked:
            yield by_batch[one]
        return
    from torch.utils.data import DataLoader

    yield from DataLoader(by_batch, batch_size=None, sampler=list(asked), num_workers=workers)  # type: ignore[arg-type]


class _ByBatch(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """A dataset whose index is a whole batch."""

    def __init__(self, data: Batches) -> None:
        self.data = data

    def __getitem__(self, asked: Asked) -> tuple[Tensor, Tensor]:
        seed, indices = asked
        seed_global(seed)
        return self.data.batch(indices)
