"""Networks that do everything a recorder must cope with, and a picture of a network's whole state."""

import random
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdlens.models.zoo import ZOO


class Awkward(nn.Module):
    """Batch norm, dropout, an in-place ReLU used three times, layers with tuple, dict and no tensor output."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.pair = Pair()
        self.named = Named()
        self.drop = nn.Dropout(0.5)
        self.shape = Shape()
        self.unused = nn.Linear(2, 2)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.conv2(x))
        x, _ = self.pair(x)
        x += 1.0  # in place, after the layer
        x = self.relu(self.named(x)["map"])
        self.shape(x)
        return self.fc(self.drop(F.adaptive_avg_pool2d(x, 1).flatten(1)))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        y = self.conv(x)
        return y, [y, None]


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return {"note": "text", "map": self.conv(x)}


class Shape(nn.Module):
    def forward(self, x):
        return tuple(x.shape)


class Trip(nn.Module):
    """A layer in the middle that raises what it is told to."""

    def __init__(self):
        super().__init__()
        self.error = None

    def forward(self, x):
        if self.error is not None:
            raise self.error
        return x


class Noisy(nn.Module):
    """Draws random numbers and counts its calls in buffers, in eval mode, too."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        self.calls += 1
        self.hidden.add_(torch.rand(2) + random.random() + np.random.rand())
        self.mean = x.mean() + self.mean  # another tensor in its place
        return self.fc(self.conv(x).mean((2, 3)))


def _awkward():
    network = Awkward()
    network.train()
    network.bn1.eval()  # mixed modes must come back
    network.conv2.weight.requires_grad_(False)
    network.conv1.weight.grad = torch.ones_like(network.conv1.weight)
    return network


def _transformer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.Sequential(
        nn.Flatten(2), nn.Linear(256, 8), nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(24, 5)
    )


_BUILDERS = {
    "awkward": _awkward,
    "noisy": Noisy,
    "transformer": _transformer,
    "data parallel": lambda: nn.DataParallel(_awkward()),
    "resnet8": lambda: ZOO["resnet8"](num_classes=5),
    "wrn_10_1": lambda: ZOO["wrn_10_1"](num_classes=5),
    "vit_tiny_cifar": lambda: ZOO["vit_tiny_cifar"](num_classes=5, depth=2),
    "mobilenetv2": lambda: ZOO["mobilenetv2"](num_classes=5),
}


@pytest.fixture
def build():
    """A function from a name to a fresh network, the same weights every time."""

    def make(name):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return _BUILDERS[name]().train()

    make.trip = Trip
    make.names = tuple(_BUILDERS)
    return make


@pytest.fixture
def awkward():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _awkward()


@pytest.fixture
def picture():
    """A function from a network to everything about it, and around it, that must not change."""
    return _picture


class Picture(NamedTuple):
    tensors: dict
    flags: dict
    hooks: dict
    ambient: tuple


def _picture(network):
    tensors = {}
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        tensors[name] = (id(value), value.detach().clone().numpy().tobytes(), value.requires_grad)
        tensors[f"{name}.grad"] = None if value.grad is None else value.grad.clone().numpy().tobytes()
    flags = {name: module.training for name, module in network.named_modules()}
    hooks = {
        name: [len(value) for key, value in vars(module).items() if "hook" in key and isinstance(value, dict)]
        for name, module in network.named_modules()
    }
    state = np.random.get_state()
    ambient = (
        torch.get_rng_state().numpy().tobytes(),
        random.getstate(),
        (state[1].tobytes(), state[2]),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
    )
    return Picture(tensors, flags, hooks, ambient)
