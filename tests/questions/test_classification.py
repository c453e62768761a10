import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import DataError, ModelError
from kdlens.questions.accuracy import classification as c


@pytest.fixture
def drawn():
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(7, (400,), generator=g)
    logits = torch.randn(400, 7, generator=g)
    logits[torch.arange(400), labels] += 1.0
    return logits, labels


def test_calibration_error_equals_torchmetrics(drawn):
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = drawn
    theirs = multiclass_calibration_error(logits, labels, num_classes=7, n_bins=15, norm="l1").item()
    mine = c.calibration_error(c.confidence(logits), c.correct(logits, labels), bins=15)
    assert mine == pytest.approx(theirs, abs=1e-6)


def test_adaptive_calibration_error_by_hand():
    sure = torch.tensor([0.9, 0.2, 0.4, 0.8])
    right = torch.tensor([True, False, True, True])
    # bins by count: {.2, .4} share .5 confidence .3; {.8, .9} share 1 confidence .85
    assert c.calibration_error(sure, right, bins=2, adaptive=True) == pytest.approx(0.5 * 0.2 + 0.5 * 0.15)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_calibration_error_does_not_depend_on_the_order_even_with_ties(seed, adaptive):
    g = torch.Generator().manual_seed(seed)
    sure = torch.randint(1, 6, (40,), generator=g) / 5
    right = torch.rand(40, generator=g) < 0.5
    order = torch.randperm(40, generator=g)
    first = c.calibration_error(sure, right, bins=7, adaptive=adaptive)
    assert first == pytest.approx(c.calibration_error(sure[order], right[order], bins=7, adaptive=adaptive), abs=1e-9)
    assert 0 <= first <= 1


def test_full_confidence_falls_into_the_last_bin():
    assert c.calibration_error(torch.ones(4), torch.tensor([True, True, True, False])) == pytest.approx(0.25)


def test_the_null_is_what_a_calibrated_network_shows():
    sure = torch.rand(300, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.5
    null = c.calibration_null(sure, seed=3, draws=300)
    fresh = torch.rand(300, 300, generator=torch.Generator().manual_seed(2)) < sure
    seen = torch.tensor([c.calibration_error(sure, right) for right in fresh])
    assert null.mean().item() == pytest.approx(seen.mean().item(), rel=0.1)


def test_nll_brier_and_kl_equal_plain_formulas(drawn):
    logits, labels = drawn
    p = logits.double().softmax(1)
    hot = torch.nn.functional.one_hot(labels, 7)
    torch.testing.assert_close(c.nll(logits, labels), -(p.log() * hot).sum(1))
    torch.testing.assert_close(c.brier(logits, labels), (p - hot).square().sum(1))
    other = logits.flip(0)
    q = other.double().softmax(1)
    torch.testing.assert_close(c.kl_to(other, logits), (q * (q.log() - p.log())).sum(1))
    assert not torch.allclose(c.kl_to(other, logits), c.kl_to(logits, other))
    assert c.kl_to(logits, logits).abs().max() == 0


def test_probabilities_do_not_change_with_a_shift_of_logits(drawn):
    logits, labels = drawn
    torch.testing.assert_close(c.nll(logits + 100, labels), c.nll(logits, labels), rtol=1e-4, atol=1e-4)
    assert torch.equal(c.agreement(logits, logits + 3), torch.ones(400, dtype=torch.bool))


def test_nan_logits_are_wrong_and_agree_with_nobody():
    logits = torch.tensor([[math.nan, 1.0], [2.0, 1.0]])
    assert c.correct(logits, torch.tensor([0, 0])).tolist() == [False, True]
    assert c.agreement(logits, logits).tolist() == [False, True]


@pytest.mark.parametrize(
    ("logits", "labels", "error", "text"),
    [
        (torch.zeros(0, 3), torch.zeros(0).long(), DataError, "no images"),
        (torch.zeros(2, 3), torch.tensor([0, 5]), DataError, "label 5 is outside the 3 classes 0..2"),
        (torch.zeros(2, 3), torch.tensor([-1, 0]), DataError, "label -1 is outside"),
        (torch.zeros(2, 4), torch.tensor([0, 1]), ModelError, r"kd gives logits of shape \(2, 4\).*need \(2, 3\)"),
        (torch.full((2, 3), math.nan), torch.tensor([0, 1]), ModelError, "kd gives NaN or infinite logits for all 2"),
    ],
)
def test_logits_that_do_not_fit_are_refused(logits, labels, error, text):
    with pytest.raises(error, match=text):
        c.check_logits("kd", logits, labels, 3)
