"""The published UniCAM algorithm, written as it reads: the yardstick.

For every pair, direction and layer: both networks run afresh with gradients, the distance matrices are built from an
n x n x d tensor, the scalar is differentiated through both whole networks, and the maps are scaled one by one.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def distance_matrix(x: Tensor) -> Tensor:
    """Distances from all differences at once."""
    return ((x[None] - x[:, None]).square().sum(-1) + 1e-18).sqrt()


def u_matrix(x: Tensor) -> Tensor:
    d, n = distance_matrix(x), len(x)
    centred = d - d.sum(0, keepdim=True) / (n - 2) - d.sum(1, keepdim=True) / (n - 2) + d.sum() / ((n - 1) * (n - 2))
    return centred - torch.diag(torch.diag(centred))


def product(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (len(a) * (len(a) - 3))


def relevance(features: Tensor, given: Tensor, labels: Tensor) -> Tensor:
    own, other, wanted = u_matrix(features), u_matrix(given), u_matrix(labels)
    left = own - product(own, other) / (product(other, other) + 1e-12) * other
    return product(left, wanted) / (product(left, left) * product(wanted, wanted) + 1e-18).sqrt()


def unicam(model: nn.Module, given: nn.Module, images: Tensor, labels: Tensor, layer: str) -> np.ndarray:
    """Maps (n, H, W) in [0, 1] of one direction at one stage of a torchvision ResNet, flattened features."""
    seen = {}
    target = model.get_submodule(layer)
    forward = target.register_forward_hook(lambda module, inputs, output: seen.__setitem__("activation", output))
    names = [name for name, _ in model.named_children()]
    depth = names.index(layer) + 1
    features = nn.Sequential(*list(model.children())[:depth])(images)
    features.register_hook(lambda gradient: seen.__setitem__("gradient", gradient))
    given_features = nn.Sequential(*list(given.children())[:depth])(images)
    model.zero_grad()
    relevance(features.flatten(1), given_features.flatten(1), labels).backward()
    forward.remove()
    beta = seen["gradient"].mean((2, 3), keepdim=True)
    small = (beta * seen["activation"].detach()).sum(1).clamp(min=0).numpy()
    return np.stack([_scaled(map_, images.shape[2:]) for map_ in small])


def _scaled(map_: np.ndarray, size: torch.Size) -> np.ndarray:
    map_ = map_ - map_.min()
    map_ = map_ / (1e-7 + map_.max())
    large = F.interpolate(torch.from_numpy(map_)[None, None], size=tuple(size), mode="bilinear")[0, 0].numpy()
    large = np.maximum(large, 0) - max(large.min(), 0)
    return large / (1e-7 + large.max())
