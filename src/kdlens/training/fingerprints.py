"""What decides the outcome of a training, as plain values that can be written down and compared."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from kdlens.models.weights import weights_fingerprint
from kdlens.training.batches import ImageBatches, TensorBatches
from kdlens.training.losses import Loss
from kdlens.training.settings import Settings

SAMPLED = 64


def describe_task(
    student: nn.Module,
    teacher: nn.Module | None,
    loss: Loss,
    data: TensorBatches | ImageBatches,
    settings: Settings,
    path_layers: Sequence[str],
) -> dict[str, Any]:
    """Return settings, method, and fingerprints of networks and images.

    Networks count with all their weights, images with their labels and up to 64 evenly spaced pictures.
    """
    return {
        "method": {"name": loss.name, **loss.options},
        "training": settings.to_dict(),
        "student": {**_network(student), "initial_weights": weights_fingerprint(student)[:16]},
        "teacher": None if teacher is None else {**_network(teacher), "weights": weights_fingerprint(teacher)[:16]},
        "images": {"count": len(data), "fingerprint": images_fingerprint(data)[:16]},
        "path_layers": list(path_layers),
    }


def _network(network: nn.Module) -> dict[str, Any]:
    return {"class": type(network).__name__, "parameters": sum(p.numel() for p in network.parameters())}


def images_fingerprint(data: TensorBatches | ImageBatches) -> str:
    """Return a SHA-256 over the labels and up to 64 evenly spaced images.

    Example:
        >>> same = [images_fingerprint(TensorBatches(torch.ones(3, 1, 2, 2), torch.arange(3))) for _ in range(2)]
        >>> same[0] == same[1]
        True
    """
    if isinstance(data, ImageBatches):
        return data.images.fingerprint()
    digest = hashlib.sha256(repr((tuple(data.images.shape), str(data.images.dtype))).encode())
    digest.update(data.labels.cpu().numpy().tobytes())
    sample = torch.linspace(0, len(data) - 1, min(SAMPLED, len(data))).long()
    digest.update(data.images[sample].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
