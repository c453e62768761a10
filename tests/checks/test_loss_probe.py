import math

import pytest
import torch
import torch.nn.functional as F

from kdlens.checks.loss_probe import probe
from kdlens.training.losses.kd import soft_target_loss

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


def kl(t=4.0, weight=None, reduction="batchmean"):
    factor = t * t if weight is None else weight

    def loss(student, teacher):
        learned = (student / t).log_softmax(1)
        return factor * F.kl_div(learned, (teacher / t).softmax(1).detach(), reduction=reduction)

    return loss


@pytest.mark.parametrize("t", [1.0, 2.0, 4.0, 20.0])
def test_a_right_loss_has_the_right_numbers(t):
    for loss in (kl(t), lambda s, z: soft_target_loss(s, z, t)):
        found = probe(loss)
        assert found.rest < 1e-4
        assert found.lowest
        assert (found.batch, found.classes) == pytest.approx((1, 1), rel=1e-3)
        assert found.temperature == pytest.approx(t, rel=0.01)
        assert found.weight == pytest.approx(t * t, rel=0.02)
        assert found.leak == 0


def test_weight_and_missing_square_are_told_apart():
    assert probe(kl(4.0, weight=1.0)).weight == pytest.approx(1.0, rel=0.01)
    assert probe(kl(4.0, weight=4.8)).weight == pytest.approx(4.8, rel=0.01)


def test_reductions_are_found_and_taken_out_of_the_weight():
    mean, total = probe(kl(reduction="mean")), probe(kl(reduction="sum"))
    assert mean.classes == pytest.approx(0.5, rel=1e-3)
    assert mean.batch == pytest.approx(1.0, rel=1e-3)
    assert total.batch == pytest.approx(2.0, rel=1e-3)
    assert mean.weight == pytest.approx(16.0, rel=0.02)
    assert total.weight == pytest.approx(16.0, rel=0.02)


def test_probabilities_in_place_of_log_probabilities_have_no_minimum_at_the_teacher():
    def wrong(student, teacher):
        return F.kl_div((student / 4).softmax(1), (teacher / 4).softmax(1), reduction="batchmean")

    found = probe(wrong)
    assert found.rest > 0.1


def test_different_temperatures_have_no_minimum_at_the_teacher():
    found = probe(lambda s, z: F.kl_div(s.log_softmax(1), (z / 4).softmax(1), reduction="batchmean"))
    assert found.rest > 0.1


def test_directions_are_told_apart():
    right = probe(kl())
    reverse = probe(lambda s, z: F.kl_div((z / 4).log_softmax(1), (s / 4).softmax(1), reduction="batchmean"))
    assert right.forward > 0.9999 > right.reverse
    assert reverse.reverse > 0.9999 > reverse.forward
    assert math.isnan(reverse.temperature)
    assert reverse.leak > 0


def test_cross_entropy_with_soft_targets_is_a_divergence_too():
    found = probe(lambda s, z: 16 * F.cross_entropy(s / 4, (z / 4).softmax(1)))
    assert found.rest < 1e-4
    assert found.temperature == pytest.approx(4.0, rel=0.01)


def test_other_losses_have_no_temperature():
    assert math.isnan(probe(F.mse_loss).temperature)


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (lambda s, z: (s - z).square(), "scalar tensor"),
        (lambda s, z: (s - z).square().sum().item(), "scalar tensor"),
        (lambda s, z: F.mse_loss(s.detach(), z), "no gradient"),
        (lambda s, z: (s * math.nan).sum(), "gives nan"),
    ],
)
def test_what_is_no_loss_is_named(loss, text):
    with pytest.raises(ValueError, match=text):
        probe(loss)


def test_the_random_state_is_not_touched():
    before = torch.get_rng_state()
    probe(kl())
    assert torch.equal(before, torch.get_rng_state())
