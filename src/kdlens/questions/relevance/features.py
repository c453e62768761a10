"""Distances between images as a network's layers see them, in bounded memory; and label distances."""

from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from kdlens.errors import DataError, StatisticsError
from kdlens.memory import in_portions
from kdlens.models.device import device_of
from kdlens.models.taps import record
from kdlens.stats.pairs import distances

FEATURE_BYTES = 1024**3
"""Activations held at once; layers beyond it are read in further passes."""

FEWEST_IMAGES = 4
ENOUGH_IMAGES = 8

Distances = Float[Tensor, "n n"]
Read = Callable[[Tensor, Sequence[str]], dict[str, Tensor]]
"""Takes indices of images and layer names; gives each layer's activations."""


def layer_distances(
    read: Read, indices: Tensor, layers: Sequence[str], *, budget: int = FEATURE_BYTES
) -> dict[str, Distances | str]:
    """Distance matrix of the flattened activations at every layer; or, where it cannot be had, why not.

    As many layers share a pass as fit into the budget, judged by the size of one image's activations.

    Args:
        read: reads activations.
        indices: `(n,)`, which images.
        layers: which layers.
        budget: bytes of float32 activations to hold at once.

    Raises:
        StatisticsError: fewer than 4 images.
    """
    n = len(indices)
    if n < FEWEST_IMAGES:
        raise StatisticsError(f"distance statistics need at least {FEWEST_IMAGES} images, got {n}")
    sizes = {layer: 4 * n * a[0].numel() for layer, a in read(indices[:1], layers).items()}
    found: dict[str, Distances | str] = {}
    for group in _groups(sizes, budget):
        activations = read(indices, group)
        for layer in group:
            found[layer] = _distances(activations.pop(layer).flatten(1).float())
    return {layer: found[layer] for layer in layers}


def network_reader(model: nn.Module, images: Float[Tensor, "n c h w"], batch_size: int | None = None) -> Read:
    """Read activations of a network on images held in memory; the network comes back as it was."""

    def read(indices: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        def part(where: slice) -> dict[str, Tensor]:
            _, found = record(model, images[indices[where]].to(device_of(model)), layers)
            return {layer: activation.float().cpu() for layer, activation in found.items()}

        parts = in_portions(part, len(indices), batch_size)
        return {layer: torch.cat([found[layer] for found in parts]) for layer in layers}

    return read


def label_distances(labels: Shaped[Tensor, "n ..."], embeddings: Float[Tensor, "classes e"] | None = None) -> Distances:
    """Distances between the labels of images.

    Args:
        labels: class indices `(n,)`, or one embedding an image `(n, e)`.
        embeddings: one row a class for class indices; None is one-hot.

    Raises:
        DataError: labels of a wrong shape, or outside the embeddings.
        StatisticsError: fewer than 4 images, or all of one class.

    Example:
        >>> label_distances(torch.tensor([0, 0, 1, 1]), torch.tensor([[0.0], [3.0]]))[0]
        tensor([0., 0., 3., 3.], dtype=torch.float64)
    """
    if labels.ndim == 1:
        if labels.is_floating_point():
            raise DataError("class indices must be integers; give embeddings as (n, e)")
        count = int(labels.max()) + 1 if len(labels) else 0
        table = torch.eye(count) if embeddings is None else embeddings
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(table):
            raise DataError(f"label {int(labels.max())} has no row among the {len(table)} label embeddings")
        targets = table[labels]
    elif labels.ndim == 2:
        targets = labels
    else:
        raise DataError(f"labels must be class indices (n,) or embeddings (n, e), got shape {tuple(labels.shape)}")
    if len(targets) < FEWEST_IMAGES:
        raise StatisticsError(f"distance statistics need at least {FEWEST_IMAGES} images, got {len(targets)}")
    if len(targets.unique(dim=0)) < 2:
        raise StatisticsError(
            f"all {len(targets)} images are of one class (or embedding); relevance needs at least two"
        )
    return distances(targets)


def _groups(sizes: dict[str, int], budget: int) -> Iterator[list[str]]:
    group: list[str] = []
    held = 0
    for layer, size in sizes.items():
        if group and held + size > budget:
            yield group
            group, held = [], 0
        group.append(layer)
        held += size
    if group:
        yield group


def _distances(features: Tensor) -> Distances | str:
    try:
        return distances(features)
    except StatisticsError as error:
        return str(error)
