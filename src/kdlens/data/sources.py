"""What can be learned about a foreign dataset without decoding its images: labels, class names, files."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from kdlens.data.items import Item, to_item, to_label
from kdlens.data.loaders import Collated, dataset_of, parts_of
from kdlens.errors import DataError

_PROBES = 8  # items that must agree with a list of labels before the list is believed


def map_style(source: Any) -> Any:
    """Return something with a length and items: the dataset itself, a loader's, or a stream read into memory once.

    Raises:
        DataError: it is neither, or a loader whose images are not a set.
    """
    if isinstance(source, DataLoader):
        if isinstance(source.dataset, IterableDataset):
            return list(_unbatched(source, batched=source.batch_size is not None))
        return dataset_of(source)
    if isinstance(source, IterableDataset):
        return list(source)
    if isinstance(source, (tuple, list)) and len(source) in (2, 3) and all(isinstance(s, Tensor) for s in source):
        raise DataError(
            f"cannot take images from a {type(source).__name__} of {len(source)} tensors; if they are all images, all "
            "labels and all masks, give torch.utils.data.TensorDataset(images, labels)"
        )
    if (
        not hasattr(source, "__getitem__")
        or not hasattr(source, "__len__")
        or isinstance(source, (str, bytes, Mapping))
    ):
        raise DataError(
            f"cannot take images from a {type(source).__name__}; expected a map-style dataset of (image, label) "
            "or (image, label, mask), or a DataLoader; kdlens.load_dataset(NAME) gives the named ones"
        )
    return source


def name_of(dataset: Any) -> str:
    """Name of a dataset, for people."""
    if isinstance(dataset, (Subset, Collated)):
        return name_of(dataset.dataset)
    return str(getattr(dataset, "name", None) or type(dataset).__name__)


def classes_of(dataset: Any) -> list[str] | None:
    """Class names, where the dataset knows them."""
    if isinstance(dataset, (Subset, Collated)):
        return classes_of(dataset.dataset)
    found = getattr(dataset, "classes", None)
    if found is None and "label" in _columns(dataset):
        found = getattr(dataset.features["label"], "names", None)
    return [str(name) for name in found] if isinstance(found, Sequence) and len(found) else None


def file_of(dataset: Any, index: int) -> str | None:
    """File behind an item, where the dataset keeps a list of them as torchvision's folders do."""
    if isinstance(dataset, Subset):
        return file_of(dataset.dataset, int(dataset.indices[index]))
    if isinstance(dataset, Collated):
        return file_of(dataset.dataset, index)
    files = getattr(dataset, "files", None) or getattr(dataset, "samples", None) or getattr(dataset, "imgs", None)
    if not isinstance(files, Sequence) or not 0 <= index < len(files):
        return None
    entry = files[index]
    return str(entry[0] if isinstance(entry, (tuple, list)) else entry)


def labels_of(dataset: Any, read: Any) -> Tensor:
    """Labels `(n,)` int64, without decoding images where the dataset keeps a list that its items agree with.

    Args:
        dataset: a map-style dataset.
        read: gives the `Item` at an index.
    """
    listed = _listed_labels(dataset)
    if listed is not None and len(listed) == len(dataset):
        probes = torch.linspace(0, len(dataset) - 1, min(_PROBES, len(dataset))).long().tolist()
        if _is_ours(dataset) or all(read(i).label == listed[i] for i in probes):
            return listed
    return torch.tensor([read(i).label for i in range(len(dataset))], dtype=torch.int64)


def _is_ours(dataset: Any) -> bool:
    return type(dataset).__module__.startswith("kdlens.") and not isinstance(dataset, Collated)


def _columns(dataset: Any) -> list[str]:
    """Columns of a Hugging Face dataset, whose items are dicts and whose columns can be had by name."""
    return list(getattr(dataset, "column_names", None) or []) if hasattr(dataset, "features") else []


def _listed_labels(dataset: Any) -> Tensor | None:
    if isinstance(dataset, Subset):
        whole = _listed_labels(dataset.dataset)
        return None if whole is None else whole[torch.as_tensor(dataset.indices).long()]
    if isinstance(dataset, Collated):
        return _listed_labels(dataset.dataset)
    if isinstance(dataset, TensorDataset):
        listed: Any = dataset.tensors[1] if len(dataset.tensors) > 1 else None
    elif isinstance(dataset, (list, tuple)):
        listed = None
    elif "label" in _columns(dataset):
        listed = list(dataset["label"])
    else:
        listed = getattr(dataset, "labels", None)
        listed = getattr(dataset, "targets", None) if listed is None else listed
    try:
        found = torch.as_tensor(listed)
    except (TypeError, ValueError, RuntimeError):
        return None
    usable = found.ndim == 1 and not found.is_floating_point() and found.dtype != torch.bool
    return found.long().cpu() if usable else None


def _unbatched(loader: Iterable[Any], *, batched: bool) -> Iterator[Item]:
    for number, batch in enumerate(loader):
        where = f"batch {number} of the loader"
        if not batched:
            yield to_item(batch, where).item
            continue
        images, labels, masks = parts_of(batch, where)
        for i, image in enumerate(images):
            label = to_label(labels[i], where)
            yield to_item((image, label, None if masks is None else masks[i]), where).item
