"""Tiny students with attention, and trainings of them."""

import pytest
import torch
from torch import nn

from kdlens.nn import HME, LinearHeads, attention_parameters, insert_vam
from kdlens.training.api import distill


class StopError(Exception):
    pass


@pytest.fixture
def tiny_hme():
    """Make a trunk, two levels of two experts, and five heads."""

    def expert(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    def make(*, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            last = [nn.Sequential(expert(4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten()) for _ in range(2)]
            return HME(expert(3, 6), [[expert(6, 4) for _ in range(2)], last], LinearHeads(4, 5))

    return make


@pytest.fixture
def vam_network(make_network):
    """Make a small network with virtual attention."""

    def make(width=4, *, seed=0, **options):
        network = make_network(width, seed=seed)
        insert_vam(network, **options)
        return network

    return make


@pytest.fixture
def train():
    """Train on labels, two updates an epoch for forty images."""

    def run(student, data, **options):
        defaults = {"method": "labels", "epochs": 3, "batch_size": 20, "seed": 4}
        return distill(None, student, data, **{**defaults, **options})

    return run


@pytest.fixture
def stopped():
    """Call a training with a listener that stops it after so many updates."""

    def run(steps, training, *arguments, **options):
        left = [steps]

        def listener(event):
            left[0] -= event.kind == "step"
            if left[0] == 0:
                raise StopError

        with pytest.raises(StopError):
            training(*arguments, progress=listener, **options)

    return run


@pytest.fixture
def logits_of():
    """Copies of the logits of all attention in a network."""
    return lambda network: [parameter.detach().clone() for parameter in attention_parameters(network)]


@pytest.fixture
def same():
    """Whether two lists of tensors are equal bit by bit."""
    return lambda one, other: all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
