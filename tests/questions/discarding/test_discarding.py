"""information_discarding on networks whose answer is known."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import kdlens
from kdlens.errors import ConfigError, DataError, LayerNotFoundError
from kdlens.questions.discarding.discarding import information_discarding
from kdlens.questions.discarding.recipe import Recipe
from kdlens.questions.discarding.sigma import entropy, linear_slopes, published


class Scaled(nn.Module):
    """Multiplies every pixel by its own number, far from any kink."""

    def __init__(self, factors: Tensor) -> None:
        super().__init__()
        self.register_buffer("factors", factors)
        self.out = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.factors * x + 100.0)


def four_patches(strong: float) -> Scaled:
    """An 8 x 8 image; the upper left quarter moves the feature `strong` times as much."""
    factors = torch.ones(1, 8, 8)
    factors[:, :4, :4] = strong
    return Scaled(factors)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("backend", ["linear", "monte-carlo"])
def test_converged_entropies_differ_by_the_log_of_the_factor(images: Tensor, backend: Any) -> None:
    found = information_discarding(
        four_patches(2.0), images, layer="out", grid=4, protocol="converged", backend=backend, probes=256
    )
    kept, rest = (
        found.entropy[:, :2, :2],
        torch.cat([found.entropy[:, 2:].flatten(1), found.entropy[:, :2, 2:].flatten(1)], 1),
    )
    tolerance = 1e-3 if backend == "linear" else 0.1
    assert (rest.mean(1) - kept.flatten(1).mean(1)).sub(math.log(2)).abs().max() < tolerance
    assert found.loss_ratio.sub(3.5).abs().max() < (0.01 if backend == "linear" else 0.3)
    assert found.backend == backend


def test_the_published_protocol_stops_at_its_mean_entropy(images: Tensor) -> None:
    found = information_discarding(four_patches(2.0), images, layer="out", grid=8, backend="linear")
    assert found.mean_entropy.add(2.8).abs().max() < 0.005
    energies = four_patches(2.0).factors.double().square().reshape(1, 64)
    expected = entropy(published(linear_slopes(energies), Recipe())).float().view(8, 8)
    torch.testing.assert_close(found.entropy, expected.expand(3, 8, 8), atol=2e-3, rtol=0)


def test_the_loop_finds_what_the_closed_form_expects(images: Tensor) -> None:
    """On a linear network the two differ by the loop's draws alone."""
    net = four_patches(3.0)
    fast = information_discarding(net, images, layer="out", grid=8, backend="linear").entropy
    loops = [
        information_discarding(net, images, layer="out", grid=8, backend="monte-carlo", seed=seed).entropy
        for seed in range(3)
    ]
    between = torch.stack(
        [(one - other).square().mean() for one, other in zip(loops, loops[1:] + loops[:1], strict=True)]
    )
    error = (fast - torch.stack(loops).mean(0)).square().mean().sqrt()
    assert error < between.mean().sqrt() / 2**0.5


def test_bits_are_nats_over_the_log_of_two(images: Tensor) -> None:
    found = information_discarding(four_patches(2.0), images, layer="out", grid=2)
    torch.testing.assert_close(found.bits * math.log(2), found.entropy)


class TestInvariances:
    @pytest.fixture
    def net(self) -> nn.Module:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1), nn.ReLU())
        return net.eval()

    def entropies(self, net: nn.Module, images: Tensor, **options: Any) -> Tensor:
        return information_discarding(net, images, layer="out", grid=4, backend="linear", **options).entropy

    @pytest.mark.parametrize(
        "change",
        [lambda f: 7 * f, lambda f: f + 3, lambda f: torch.cat([f, f], 1), lambda f: f.flip(1)],
        ids=["scaled", "shifted", "doubled", "permuted"],
    )
    def test_of_the_feature(self, net: nn.Module, images: Tensor, change: Callable[[Tensor], Tensor]) -> None:
        exact = {"probes": 8 * 64 * 4}
        plain = self.entropies(Changed(net, lambda f: f), images, **exact)
        torch.testing.assert_close(self.entropies(Changed(net, change), images, **exact), plain, atol=0.004, rtol=0)

    def test_of_the_batch(self, net: nn.Module, images: Tensor) -> None:
        same = Changed(net, lambda f: f)
        together = self.entropies(same, images)
        apart = [self.entropies(same, images[i : i + 1], positions=torch.tensor([i])) for i in range(3)]
        torch.testing.assert_close(torch.cat(apart), together, atol=1e-5, rtol=0)
        assert not torch.allclose(self.entropies(same, images, positions=torch.tensor([4, 5, 6])), together)

    def test_of_the_loop_to_the_batch(self, net: nn.Module, images: Tensor) -> None:
        same = Changed(net, lambda f: f)
        together = information_discarding(same, images, layer="out", grid=2, backend="monte-carlo").entropy
        alone = information_discarding(
            same, images[1:2], layer="out", grid=2, backend="monte-carlo", positions=torch.tensor([1])
        ).entropy
        torch.testing.assert_close(alone[0], together[1], atol=1e-5, rtol=0)

    def test_identical_networks_have_identical_maps(self, net: nn.Module, images: Tensor) -> None:
        import copy

        one, other = Changed(net, lambda f: f), Changed(copy.deepcopy(net), lambda f: f)
        assert torch.equal(self.entropies(one, images), self.entropies(other, images))


class Changed(nn.Module):
    """A network with its feature changed."""

    def __init__(self, net: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.change, self.out = net, change, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.change(self.net(x)))


class TestWhatCannotBeJudged:
    def test_dead_features_reject_the_image_alone(self, images: Tensor) -> None:
        class Dim(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.out = nn.Identity()

            def forward(self, x: Tensor) -> Tensor:
                return self.out(x - 100 * (x.mean((1, 2, 3), keepdim=True) > 0.9))

        images[1] = 1.0
        for backend in ("linear", "monte-carlo", "auto"):
            found = information_discarding(Dim(), images, layer="out", grid=2, backend=backend)
            assert found.rejected.tolist() == [False, True, False]
            assert found.entropy[1].isnan().all()
            assert found.entropy[0].isfinite().all()
            assert found.entropy[2].isfinite().all()

    def test_all_dead(self, images: Tensor) -> None:
        net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
        nn.init.constant_(net[0].bias, -100.0)
        found = information_discarding(net, images, layer="1", grid=2)
        assert found.rejected.all()
        assert repr(found) == "Discarded(3 images of 2 x 2 cells, 3 rejected, monte-carlo)"

    def test_a_feature_of_half_a_kink_moves(self) -> None:
        """relu(x) at 0: the derivative there is 0 by convention, and noise moves it all the same."""
        net = nn.Sequential(nn.Identity())
        found = information_discarding(net, torch.zeros(1, 1, 4, 4), layer="0", grid=2, backend="linear")
        assert not found.rejected.any()
        assert found.mean_entropy.item() == pytest.approx(-2.8, abs=0.005)

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            (torch.zeros(0, 1, 8, 8), "at least one image"),
            (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "float tensor"),
            (torch.full((2, 1, 8, 8), torch.nan), "NaN"),
            ([1, 2], "float tensor"),
        ],
    )
    def test_images(self, given: Any, text: str) -> None:
        with pytest.raises(DataError, match=text):
            information_discarding(four_patches(1.0), given, layer="out", grid=2)

    def test_options(self, images: Tensor) -> None:
        net = four_patches(1.0)
        with pytest.raises(DataError, match="grid of 16 cells does not fit 8 pixels"):
            information_discarding(net, images, layer="out")
        with pytest.raises(ConfigError, match="backend must be one of"):
            information_discarding(net, images, layer="out", grid=2, backend="fast")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="probes must be 8 or more"):
            information_discarding(net, images, layer="out", grid=2, probes=2)
        with pytest.raises(DataError, match="2 positions for 3 images"):
            information_discarding(net, images, layer="out", grid=2, positions=torch.arange(2))
        with pytest.raises(LayerNotFoundError):
            information_discarding(net, images, layer="layer4", grid=2)


class TestAnyInput:
    def test_tokens(self) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 5), nn.Flatten(), nn.Linear(35, 4)).eval()
        found = information_discarding(net, torch.rand(2, 7, 6), layer="1", grid="tokens")
        assert found.entropy.shape == (2, 7)

    def test_sequences_and_vectors(self) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1)).eval()
        assert information_discarding(net, torch.rand(2, 2, 12), layer="0", grid=4).entropy.shape == (2, 4)
        net = nn.Sequential(nn.Linear(9, 3)).eval()
        assert information_discarding(net, torch.rand(2, 9), layer="0", grid=3).entropy.shape == (2, 3)

    def test_grids_that_do_not_fit_evenly(self) -> None:
        found = information_discarding(
            nn.Sequential(nn.Identity()), torch.rand(1, 3, 11, 13) + 9, layer="0", grid=(4, 5)
        )
        assert found.entropy.shape == (1, 4, 5)
        wide, narrow = found.entropy[0, 0, 0], found.entropy[0, 0, 2]  # columns of 3 and of 2 pixels
        assert wide < narrow

    @pytest.mark.parametrize(
        ("arch", "layer"), [("resnet8", "layer2"), ("vit_tiny_cifar", "blocks.1"), ("cnn8", "layer1")]
    )
    def test_zoo(self, arch: str, layer: str) -> None:
        torch.manual_seed(0)
        net = kdlens.load_model(f"zoo:{arch}", classes=10).train()
        before = {name: value.clone() for name, value in net.state_dict().items()}
        found = information_discarding(net, torch.rand(1, 3, 32, 32), layer=layer, grid=8, probes=16)
        assert found.entropy.isfinite().all()
        assert net.training
        assert all(p.grad is None and p.requires_grad for p in net.parameters())
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
