"""A healthy triple on real pictures: random convolutions with heads fitted by least squares, in a second."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from kdlens.data import load_dataset
from kdlens.data.images import Images

MEAN, STD = (0.286,), (0.353,)


def conv_net(seed, width):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = OrderedDict(
            layer1=nn.Sequential(nn.Conv2d(1, width, 5, 2, 2), nn.BatchNorm2d(width), nn.ReLU()),
            layer2=nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU()),
            flat=nn.Flatten(),
            drop=nn.Dropout(0.5),
            fc=nn.Linear(2 * width * 49, 10),
        )
        return nn.Sequential(layers)


@torch.no_grad()
def fit(network, x, targets):
    """Batch statistics from the images, then the head by ridge regression."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    network.train()
    network[:2](x)
    network.eval()
    features = network[:3](x)
    features = torch.cat([features, torch.ones(len(features), 1)], 1).double()
    ridge = 30.0 * torch.eye(features.shape[1], dtype=torch.float64)
    solution = torch.linalg.solve(features.T @ features + ridge, features.T @ targets.double()).float()
    network.fc.weight.copy_(solution[:-1].T)
    network.fc.bias.copy_(solution[-1])
    return network


@pytest.fixture(scope="session")
def trained():
    train = Images(load_dataset("fashion", split="train"), mean=MEAN, std=STD)
    x, y, _ = train.batch(torch.arange(1500))
    hot = 8.0 * torch.eye(10)[y]
    teacher = fit(conv_net(0, 8), x, hot)
    with torch.no_grad():
        taught = teacher(x[:600])
    student = fit(conv_net(1, 4), x[:600], 0.5 * taught + 0.5 * hot[:600])
    baseline = fit(conv_net(2, 4), x[:400], hot[:400])
    return teacher, student, baseline


@pytest.fixture
def triple(trained):
    """Teacher, student, baseline; fresh copies, so that a test may plant a fault."""
    import copy

    return tuple(copy.deepcopy(network) for network in trained)


@pytest.fixture(scope="session")
def images():
    """400 test pictures as the networks take them."""
    return Images(load_dataset("fashion"), mean=MEAN, std=STD).subset(torch.arange(400))


@pytest.fixture(scope="session")
def pixels():
    """The same pictures without normalisation."""
    return Images(load_dataset("fashion")).subset(torch.arange(400))
