"""What a mirrored network discards is mirrored, and a feature turned in its space is the same feature.

Where a network is linear the energies are exact and rounding is all that is left. Where it is not, derivatives are
taken at noisy inputs, whose draws are neither mirrored nor turned, so that two maps differ as two seeds do.
"""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kdlens.questions.discarding.discarding import information_discarding

ABOVE_KINKS = 100.0
"""Added to a feature before its positive part is taken, so that none is cut off."""

CHANNELS, SIDE = 8, 8
UNITS = CHANNELS * SIDE * SIDE
ROUNDING = 1e-4


class Turned(nn.Module):
    """A network whose feature is changed, and far from any kink."""

    def __init__(self, net: nn.Module, change: Callable[[Tensor], Tensor] = lambda f: f) -> None:
        super().__init__()
        self.net, self.change, self.out = net, change, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.change(self.net(x)) + ABOVE_KINKS)


def network(*, linear: bool) -> nn.Sequential:
    torch.manual_seed(0)
    between = nn.Identity() if linear else nn.ReLU()
    last = nn.Identity() if linear else nn.ReLU()
    convolutions = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, CHANNELS, 3, padding=1)
    return nn.Sequential(convolutions[0], between, convolutions[1], last).eval()


def mirrored(net: nn.Module) -> nn.Module:
    """The network that sees in a mirrored image what `net` sees in the image, at mirrored places."""
    twin = copy.deepcopy(net)
    for module in twin.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.flip(-1)
    return twin


def rotation(size: int) -> Tensor:
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(1))).Q


def mix_channels(f: Tensor) -> Tensor:
    return torch.einsum("kc,nchw->nkhw", rotation(CHANNELS), f)


def mix_units(f: Tensor) -> Tensor:
    return f.flatten(1) @ rotation(UNITS).T


def entropies(net: nn.Module, images: Tensor, **options: Any) -> Tensor:
    options = {"grid": 4, "backend": "linear", "probes": UNITS, **options}
    return information_discarding(net, images, layer="out", **options).entropy


def rms(one: Tensor, other: Tensor) -> float:
    return (one - other).square().mean().sqrt().item()


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("linear", [True, False], ids=["linear", "relu"])
def test_a_mirrored_network_sees_in_a_mirrored_image_what_the_other_saw(images: Tensor, linear: bool) -> None:
    net = network(linear=linear)
    torch.testing.assert_close(mirrored(net)(images.flip(-1)).flip(-1), net(images))


def test_a_mirrored_linear_network_discards_the_mirrored_map(images: Tensor) -> None:
    net = network(linear=True)
    plain = entropies(Turned(net), images)
    there = entropies(Turned(mirrored(net)), images.flip(-1))
    torch.testing.assert_close(there.flip(-1), plain, atol=ROUNDING, rtol=0)
    assert (there - plain).abs().max() > 100 * ROUNDING  # the map is not its own mirror image


@pytest.mark.parametrize("mix", [mix_channels, mix_units], ids=["channels", "all units"])
def test_mixing_a_linear_feature_orthogonally_changes_nothing(images: Tensor, mix: Callable[[Tensor], Tensor]) -> None:
    net = network(linear=True)
    plain = entropies(Turned(net), images)
    torch.testing.assert_close(entropies(Turned(net, mix), images), plain, atol=ROUNDING, rtol=0)
    skewed = entropies(Turned(net, lambda f: f * torch.linspace(0.2, 2, CHANNELS)[:, None, None]), images)
    assert (skewed - plain).abs().max() > 20 * ROUNDING  # what is not orthogonal is seen


def test_with_kinks_a_mirrored_network_differs_as_another_seed_does(images: Tensor) -> None:
    net = network(linear=False)
    plain, seed = entropies(Turned(net), images), entropies(Turned(net), images, seed=1)
    there = entropies(Turned(mirrored(net)), images.flip(-1))
    assert rms(there.flip(-1), plain) < 1.5 * rms(seed, plain)
    assert rms(there, plain) > 5 * rms(seed, plain)


@pytest.mark.parametrize("mix", [mix_channels, mix_units], ids=["channels", "all units"])
def test_with_kinks_mixing_after_them_is_another_seed_at_most(images: Tensor, mix: Callable[[Tensor], Tensor]) -> None:
    net = network(linear=False)
    plain, seed = entropies(Turned(net), images), entropies(Turned(net), images, seed=1)
    assert rms(entropies(Turned(net, mix), images), plain) < 1.5 * rms(seed, plain)


def test_the_loop_does_not_see_mixing_at_all(images: Tensor) -> None:
    """It has the same draws, and lengths are all it looks at."""
    net = network(linear=False)
    loop = {"backend": "monte-carlo", "grid": 2}
    plain = entropies(Turned(net), images[:1], **loop)
    torch.testing.assert_close(entropies(Turned(net, mix_units), images[:1], **loop), plain, atol=ROUNDING, rtol=0)
    assert rms(entropies(Turned(net), images[:1], seed=1, **loop), plain) > 5 * ROUNDING
