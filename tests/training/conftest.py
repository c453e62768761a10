"""Small networks and images for the tests of training."""

import pytest
import torch
from torch import nn

CLASSES = 5


def small_network(width=4, *, classes=CLASSES, seed=0, norm=True, dropout=0.0):
    """Two spatial stages and a head; the second ReLU works in place, as in most published code."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential()
        for i, (before, after) in enumerate([(3, width), (width, 2 * width)], start=1):
            block = [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after) if norm else nn.Identity()]
            network.add_module(f"layer{i}", nn.Sequential(*block, nn.ReLU(inplace=True)))
        network.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout)))
        network.add_module("fc", nn.Linear(2 * width, classes))
    return network


def small_data(count=40, *, classes=CLASSES, size=16, seed=0):
    """Images whose brightness in one channel says the class, so there is something to learn."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    images = torch.randn(count, 3, size, size, generator=generator)
    images[:, 0] += labels.view(-1, 1, 1) - classes / 2
    return images, labels


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data():
    return small_data()


@pytest.fixture
def make_network():
    return small_network


@pytest.fixture
def make_data():
    return small_data
