"""Energies by probes against exact ones, and the checks that decide on the backend."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from kdlens.questions.discarding.budget import Budget
from kdlens.questions.discarding.cells import Cells
from kdlens.questions.discarding.directions import _orthonormal
from kdlens.questions.discarding.discarding import accept_linear, information_discarding
from kdlens.questions.discarding.lens import Lens, lens
from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.probes import measure, pulled


def linear_net(units: int, inputs: int = 16) -> nn.Sequential:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(inputs, units))
    nn.init.constant_(net[1].bias, 100.0)  # far from the ReLU's kink
    return net.eval()


def exact_energies(net: nn.Sequential, cells: Cells) -> Tensor:
    columns = net[1].weight.detach().square().sum(0)
    return cells.total(columns.view(1, 1, 4, 4)).flatten()


def test_every_sign_vector_together_is_exact() -> None:
    matrix = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signs = torch.tensor(list(product([-1.0, 1.0], repeat=6)), dtype=torch.float64)
    torch.testing.assert_close((signs @ matrix).square().mean(0), matrix.square().sum(0))


@pytest.mark.parametrize("units", [3, 40, 400], ids=["units alone", "basis spans all", "basis and signs"])
def test_energies_of_a_linear_network(units: int) -> None:
    net, image = linear_net(units), torch.rand(1, 1, 4, 4)
    with lens(net, "1", image, 2) as seen:
        sigma = torch.full((4,), 0.0125, dtype=torch.float64)
        found = measure(seen, image[0], sigma, Noise(0, 0), Budget(96), 0.01)
    assert found is not None
    share = found.slopes.slope[0] / found.slopes.slope.sum()
    exact = exact_energies(net, seen.cells)
    torch.testing.assert_close(share, (exact / exact.sum()).double(), rtol=1e-3, atol=0)
    assert abs(found.slopes.decay.item()) < 1e-3
    assert found.linear == pytest.approx(1, abs=0.25)  # the draws' energy, of which there are 48


def test_a_basis_leaves_little_to_the_signs() -> None:
    """A feature of 400 units with a few strong directions: the error is far below that of signs alone."""
    torch.manual_seed(0)
    net = linear_net(400, 64)
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(400, 4) @ torch.randn(4, 64) + 0.05 * torch.randn(400, 64))
    image = torch.rand(1, 1, 8, 8)
    exact = net[1].weight.square().sum(0).double()
    exact = exact / exact.sum()
    signs = torch.randint(0, 2, (32, 400)).double() * 2 - 1
    plain = (signs @ net[1].weight.double()).square().mean(0)
    with lens(net, "1", image, 8) as seen:
        found = measure(seen, image[0], torch.full((64,), 0.0125).double(), Noise(0, 0), Budget(32), 0.01)
    assert found is not None
    error = (found.slopes.slope[0] / found.slopes.slope.sum() / exact).log().square().mean().sqrt()
    assert error < 0.2 * (plain / plain.sum() / exact).log().square().mean().sqrt()


def test_the_basis_is_orthonormal_also_for_rows_that_nearly_agree() -> None:
    torch.manual_seed(0)
    rows = torch.randn(1, 500) + 1e-4 * torch.randn(20, 500)
    basis = _orthonormal(rows)
    assert len(basis) == 20
    torch.testing.assert_close(basis @ basis.T, torch.eye(len(basis)), atol=1e-4, rtol=0)


class TestPulled:
    def draws(self, probes: int, scatter: float) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(3)
        seen = torch.rand(256, generator=generator).double() + 0.2
        truth = 2 * seen * (scatter * torch.randn(256, generator=generator).double()).exp()
        rest = truth * torch.randn(probes, 256, generator=generator).double().square()
        return rest, seen, truth

    def test_it_brings_estimates_nearer_where_seen_tells(self) -> None:
        rest, seen, truth = self.draws(32, 0.05)
        error = (pulled(rest, seen) / truth).log().std()
        assert error < 0.5 * (rest.mean(0) / truth).log().std()

    def test_it_leaves_alone_what_is_known_well(self) -> None:
        rest, seen, _ = self.draws(2000, 0.5)
        torch.testing.assert_close(pulled(rest, seen), rest.mean(0), rtol=0.05, atol=0)

    def test_dead_cells_and_few_probes_are_averaged(self) -> None:
        rest, seen, _ = self.draws(32, 0.05)
        seen[3] = 0
        assert torch.equal(pulled(rest, seen), rest.mean(0))
        assert torch.equal(pulled(rest[:2], seen + 1), rest[:2].mean(0))


def test_energy_of_draws_is_the_linear_energy() -> None:
    net, image = linear_net(30), torch.rand(1, 1, 4, 4)
    with lens(net, "1", image, 2) as seen:
        sigma = torch.tensor([0.01, 0.02, 0.03, 0.04])
        noise = seen.cells.spread(sigma.view(1, 2, 2)) * Noise(0, 0).normal("draws", (20_000, 1, 4, 4))
        clean = seen.feature(image)[0].detach()
        drawn = seen.changes(image[0], noise, clean).square().sum(1).double()
        expected = (exact_energies(net, seen.cells) * sigma.square()).sum()
    matrix = net[1].weight.detach() * seen.cells.spread(sigma.view(1, 2, 2)).flatten()
    product_ = (matrix @ matrix.T).double()
    effective = product_.trace().square() / product_.square().sum()
    assert (drawn.mean() / expected).item() == pytest.approx(1, abs=4 * math.sqrt(2 / effective / 20_000))
    assert (drawn.std() / drawn.mean()).item() == pytest.approx(math.sqrt(2 / effective), rel=0.05)


class TestCells:
    def test_coarse_cells_are_sums_of_fine_ones(self) -> None:
        values = torch.rand(2, 3, 32, 32, dtype=torch.float64)
        fine, coarse = Cells((3, 32, 32), 16).total(values), Cells((3, 32, 32), 8).total(values)
        torch.testing.assert_close(coarse, fine.unflatten(1, (8, 2)).unflatten(3, (8, 2)).sum((2, 4)))

    def test_uneven_cells_follow_nearest_upsampling(self) -> None:
        values = torch.rand(1, 16, 16)
        expected = nn.functional.interpolate(values[None], size=(227, 227), mode="nearest")[0]
        torch.testing.assert_close(Cells((3, 227, 227), 16).spread(values)[:, 0], expected)


def test_features_too_large_for_the_memory_are_probed_at_random() -> None:
    net, image = linear_net(400), torch.rand(1, 1, 4, 4)
    small = Budget(2000, memory=1e5)
    assert not small.allows_basis(400)
    with lens(net, "1", image, 2) as seen:
        found = measure(seen, image[0], torch.full((4,), 0.0125).double(), Noise(0, 0), small, 0.01)
        exact = exact_energies(net, seen.cells)
    assert found is not None
    share = found.slopes.slope[0] / found.slopes.slope.sum()
    assert 1e-4 < (share / (exact / exact.sum()) - 1).abs().max() < 0.1  # as good as random signs are


def test_many_rows_a_pass_or_few_are_the_same() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU()).eval()
    image = torch.rand(1, 1, 8, 8)
    slopes = []
    with lens(net, "1", image, 4) as seen:
        for rows in (1, 3, 64):
            small = Lens(seen.activation, seen.cells, rows, seen.device)
            found = measure(small, image[0], torch.full((16,), 0.01).double(), Noise(0, 0), Budget(40), 0.01)
            assert found is not None
            slopes.append(found.slopes.slope)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=0)
    torch.testing.assert_close(slopes[0], slopes[2], rtol=1e-4, atol=0)


class Steep(nn.Module):
    """A wave of a length near the noise's size: derivatives say nothing about what noise does."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.sin(400 * x) + 2)


class Stairs(Steep):
    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.floor(100 * x))


class TestAcceptance:
    def test_smooth_networks_pass(self) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()).eval()
        decided = accept_linear(net, torch.rand(4, 1, 16, 16), layer="2", grid=8)
        assert decided.backend == "linear"
        assert decided.reason == "derivatives agree with 256 draws on each of 4 images"
        assert decided.images == 4

    @pytest.mark.parametrize("net", [Steep(), Stairs()], ids=["waves", "stairs"])
    def test_networks_that_noise_finds_otherwise_fall_back_and_say_so(self, net: nn.Module) -> None:
        images = torch.rand(3, 1, 8, 8)
        decided = accept_linear(net, images, layer="out", grid=4)
        assert decided.backend == "monte-carlo"
        assert decided.reason
        found = information_discarding(net, images, layer="out", grid=4)
        assert (found.backend, found.reason) == ("monte-carlo", decided.reason)


def test_draws_apart_have_nothing_in_common() -> None:
    """What checks a solution must not be what it was made from."""
    noise = Noise(0, 3)
    made, checking = noise.again().normal("draws", (50,)), noise.apart("check/").normal("draws", (50,))
    assert torch.equal(made, noise.again().normal("draws", (50,)))
    assert (made - checking).abs().min() > 0
