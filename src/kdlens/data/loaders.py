"""What a DataLoader hands out, as a dataset: its sampler may leave images out, its collate function change them."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    default_collate,
)

from kdlens.errors import DataError

KEYS = ("image", "label", "mask")


def dataset_of(loader: "DataLoader[Any]") -> Any:
    """Return what a loader hands out, map-style: the images its sampler takes, as its collate function makes them.

    The loader's order does not matter, and every image counts once.

    Raises:
        DataError: the loader takes some images more often than others, so there is no set of images it stands for.

    Example:
        >>> import torch
        >>> held_out = SubsetRandomSampler([4, 2])
        >>> loader = DataLoader([(torch.full((1, 2, 2), float(i)), 0) for i in range(5)], sampler=held_out)
        >>> [float(image.mean()) for image, _ in dataset_of(loader)]
        [2.0, 4.0]
    """
    dataset = loader.dataset
    chosen = _chosen(loader)
    if chosen is not None:
        dataset = Subset(dataset, chosen)
    return Collated(dataset, loader.collate_fn) if has_own_collate(loader) else dataset


def has_own_collate(loader: Any) -> bool:
    """Whether a loader makes its batches with a function of the user's."""
    return (
        isinstance(loader, DataLoader) and loader.batch_sampler is not None and loader.collate_fn is not default_collate
    )


class Collated:
    """A dataset whose items have been through a loader's collate function, each as a batch of one.

    Labels, class names and files that the dataset knows are found here, too.
    """

    def __init__(self, dataset: Any, collate: Any) -> None:
        self.dataset = dataset
        self.collate = collate

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        parts = parts_of(
            self.collate([self.dataset[index]]), f"what the loader's collate function makes of image {index}"
        )
        return tuple(part[0] for part in parts if part is not None)


def parts_of(batch: Any, where: str) -> tuple[Any, Any, Any]:
    """Images, labels and masks (or None) of one batch of a loader.

    Raises:
        DataError: it does not hold images (n, C, H, W) with as many labels.
    """
    is_row = isinstance(batch, Sequence) and not isinstance(batch, str)
    parts = [batch.get(k) for k in KEYS] if isinstance(batch, Mapping) else list(batch) if is_row else []
    images, labels, masks = (*parts, None, None, None)[:3]
    if not isinstance(images, Tensor) or images.ndim != 4 or labels is None or len(images) != len(labels):
        raise DataError(
            f"{where} does not hold images (n, C, H, W) with as many labels; expected (images, labels), "
            f"(images, labels, masks) or a dict with the keys {', '.join(KEYS[:2])} and, if any, {KEYS[2]}"
        )
    return images, labels, masks


def _chosen(loader: "DataLoader[Any]") -> list[int] | None:
    """Indices that the loader's sampler takes; None for all."""
    batches = loader.batch_sampler
    if batches is not None and not isinstance(batches, BatchSampler):
        raise _unclear(batches)
    sampler = getattr(batches, "sampler", loader.sampler)
    if isinstance(sampler, SubsetRandomSampler):
        return sorted({int(i) for i in sampler.indices})
    if isinstance(sampler, SequentialSampler) or hasattr(sampler, "num_replicas"):  # kdlens shards by itself
        return None
    if isinstance(sampler, RandomSampler) and not sampler.replacement and len(sampler) >= len(loader.dataset):  # type: ignore[arg-type]
        return None
    raise _unclear(sampler)


def _unclear(sampler: Any) -> DataError:
    return DataError(
        f"the loader picks its images with {type(sampler).__name__}, which may take some often and others never; "
        "kdlens looks at every image once: give the dataset itself, or torch.utils.data.Subset(dataset, indices)"
    )
