"""Closed forms against known numbers: what noise cells get once their energies are known."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdlens.errors import ConfigError
from kdlens.questions.discarding.recipe import HALF_LOG_2_PI_E, Recipe
from kdlens.questions.discarding.sigma import Slopes, at_alpha, converged, entropy, linear_slopes, published

CELLS = 256


def energies(special: float, count: int, others: float = 1.0) -> Tensor:
    """`count` cells of energy `special` among 256 of energy `others`."""
    g = torch.full((1, CELLS), others, dtype=torch.float64)
    g[0, :count] = special
    return g


class TestPublished:
    def test_even_cells_stop_where_the_flow_crosses(self) -> None:
        sigma = published(linear_slopes(energies(1, 36)), Recipe())
        assert sigma.std() < 1e-12
        assert sigma[0, 0].item() == pytest.approx(0.01474, abs=5e-6)
        assert entropy(sigma).mean().item() == pytest.approx(-2.7983, abs=5e-5)
        assert linear_slopes(energies(1, 36)).ratio(sigma).item() == pytest.approx(2.1726, abs=5e-4)

    @pytest.mark.parametrize(
        ("g", "kept", "rest", "ratio"),
        [(4.0, -3.0943, -2.7488, 1.9251), (100.0, -3.4977, -2.6892, 0.6611)],
    )
    def test_cells_that_matter_get_less_noise(self, g: float, kept: float, rest: float, ratio: float) -> None:
        slopes = linear_slopes(energies(g, 36))
        sigma = published(slopes, Recipe())
        assert entropy(sigma)[0, 0].item() == pytest.approx(kept, abs=5e-4)
        assert entropy(sigma)[0, -1].item() == pytest.approx(rest, abs=5e-4)
        assert slopes.ratio(sigma).item() == pytest.approx(ratio, abs=2e-3)

    def test_the_early_stop_shrinks_differences(self) -> None:
        found = entropy(published(linear_slopes(energies(math.exp(0.4), 36)), Recipe()))
        assert (found[0, -1] - found[0, 0]).item() == pytest.approx(0.0825, abs=5e-4)

    def test_dead_cells_never_reach_the_cap(self) -> None:
        found = entropy(published(linear_slopes(energies(0, 128)), Recipe()))
        assert found[0, 0].item() == pytest.approx(-2.6215, abs=5e-4)
        assert found[0, -1].item() == pytest.approx(-2.9748, abs=5e-4)

    def test_a_weight_too_small_to_reach_the_target_is_raised(self) -> None:
        low = entropy(published(linear_slopes(energies(1, 36)), Recipe(loss_weight=4.0))).mean()
        never = entropy(published(linear_slopes(energies(1, 36)), Recipe(loss_weight=4.0, more_steps=0))).mean()
        assert never < low < -2.8


class TestConverged:
    def test_even_cells(self) -> None:
        sigma = converged(linear_slopes(energies(1, 36)), Recipe())
        assert sigma.square().mean().item() == pytest.approx(3.5e-4)
        assert entropy(sigma).mean().item() == pytest.approx(-2.560, abs=5e-4)

    def test_entropies_differ_by_half_the_log_of_energies(self) -> None:
        found = entropy(converged(linear_slopes(energies(4, 36)), Recipe()))
        assert (found[0, -1] - found[0, 0]).item() == pytest.approx(math.log(2), abs=1e-12)

    @settings(deadline=None)
    @given(st.integers(0, 1000), st.floats(0.5, 20))
    def test_the_loss_is_half_the_weight_and_focus_discards_more(self, seed: int, weight: float) -> None:
        g = torch.rand(1, CELLS, generator=torch.Generator().manual_seed(seed)).double() + 0.1
        slopes, recipe = linear_slopes(g), Recipe(loss_weight=weight)
        sigma = converged(slopes, recipe)
        assert slopes.ratio(sigma).item() == pytest.approx(weight / 2)
        even = HALF_LOG_2_PI_E + 0.5 * math.log(weight * 0.01**2 / 2)
        divergence = -(CELLS * g / g.sum()).log().mean().item()
        assert entropy(sigma).mean().item() - even == pytest.approx(divergence / 2)
        assert divergence > 0

    def test_dead_cells_are_at_the_cap(self) -> None:
        sigma = converged(linear_slopes(energies(0, 128)), Recipe())
        assert (sigma[0, :128] == 1).all()
        assert sigma[0, 128:].std() < 1e-15


class TestAlpha:
    @settings(deadline=None)
    @given(st.integers(0, 1000), st.floats(0.5, 5))
    def test_the_loss_is_alpha_and_cells_spend_alike(self, seed: int, alpha: float) -> None:
        g = torch.rand(2, CELLS, generator=torch.Generator().manual_seed(seed)).double() + 0.1
        slopes = linear_slopes(g)
        sigma = at_alpha(slopes, Recipe(protocol="alpha", alpha=alpha))
        torch.testing.assert_close(slopes.ratio(sigma), torch.full((2,), alpha, dtype=torch.float64))
        spent = g * sigma.square()
        assert ((spent.std(1) / spent.mean(1)) < 1e-9).all()

    def test_it_is_the_optimum_of_twice_the_weight(self) -> None:
        slopes = linear_slopes(energies(9, 50))
        here, there = at_alpha(slopes, Recipe("alpha", alpha=1.5)), converged(slopes, Recipe(loss_weight=3.0))
        torch.testing.assert_close(here, there)

    def test_capped_cells_leave_their_share_to_the_others(self) -> None:
        slopes = linear_slopes(energies(0, 128))
        sigma = at_alpha(slopes, Recipe("alpha"))
        assert (sigma[0, :128] == 1).all()
        assert slopes.ratio(sigma).item() == pytest.approx(1.5)


def test_the_path_is_the_same_for_any_grid() -> None:
    fine = published(linear_slopes(energies(4, 64)), Recipe())
    coarse = published(linear_slopes(4 * energies(4, 64)[:, ::4]), Recipe())
    torch.testing.assert_close(coarse, fine[:, ::4])


def test_guans_published_example_of_words() -> None:
    """Phi(x) = W x with the weights and numbers of the README of Guan et al. (ICML 2019), which rests on noisy draws.

    Its loss is the mean over units of (s' - s)^2 / v, with v the variance of a unit over the data, less a rate times
    the mean of log sigma: the penalised loss with E_0 = 1.
    """
    weights = torch.tensor([[10.0, 20.0, 5.0, -20.0, -10.0]], dtype=torch.float64)
    printed = torch.tensor([0.00316, 0.00181, 0.00633, 0.00175, 0.00308], dtype=torch.float64)
    variance = 0.01**2 * weights.square().sum()
    one = torch.ones(1, dtype=torch.float64)
    slopes = Slopes(weights.square() / variance, unit=one, decay=0 * one, at=0.01 * one)
    ours = converged(slopes, Recipe(loss_weight=0.1, low=1e-6))[0]
    torch.testing.assert_close(ours, 0.0320156 / weights.abs()[0], rtol=1e-5, atol=0)
    assert ((ours / printed - 1).abs() < 0.14).all()


def test_scaling_the_input_scales_the_noise() -> None:
    g = torch.rand(1, CELLS, dtype=torch.float64) + 0.1
    plain = published(linear_slopes(g), Recipe())
    scaled = published(
        linear_slopes(g / 100, start=0.1),
        Recipe(start=0.1, target=-2.8 + math.log(10), rate=1e-2, low=0.01, high=10.0),
    )
    torch.testing.assert_close(scaled, 10 * plain)


@pytest.mark.parametrize("options", [{"protocol": "fast"}, {"loss_weight": 0}, {"alpha": -1}, {"alpha": math.inf}])
def test_impossible_recipes_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Recipe(**options)  # type: ignore[arg-type]
