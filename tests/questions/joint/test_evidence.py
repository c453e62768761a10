"""Evidence on a calibrated scale: temperatures, cross-fitting, labels."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from kdlens.errors import DataError
from kdlens.questions.unicam.joint.evidence import centred, cross_fitted, fit_temperature, of_label


def draw(n, classes, sharpness, seed=0):
    """Logits of a perfectly calibrated network, multiplied by `sharpness`."""
    g = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, classes, generator=g)
    labels = torch.distributions.Categorical(logits=logits)
    drawn = torch.multinomial(labels.probs, 1, generator=g)[:, 0]
    return sharpness * logits, drawn


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 4.0])
def test_the_temperature_undoes_a_wrong_confidence(sharpness):
    logits, labels = draw(4000, 5, sharpness)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.08)


def test_the_temperature_is_the_minimum_of_its_cost():
    logits, labels = draw(300, 4, 2.0)

    def cost(t):
        return float(F.cross_entropy(logits.double() / t, labels)) + 0.02 * math.log(t) ** 2

    best = fit_temperature(logits, labels)
    assert cost(best) <= min(cost(best * step) for step in (0.98, 1.02, 0.9, 1.1)) + 1e-7


def test_a_network_without_mistakes_keeps_a_finite_scale():
    labels = torch.arange(100) % 4
    assert 0.2 < fit_temperature(8 * F.one_hot(labels).float(), labels) < 5


@given(st.integers(0, 1000), st.floats(-50, 50))
def test_what_is_said_of_all_classes_alike_is_no_evidence(seed, shift):
    logits, labels = draw(12, 4, 1.0, seed)
    assert torch.allclose(centred(logits).sum(1), torch.zeros(12), atol=1e-5)
    assert torch.allclose(of_label(logits + shift, labels), of_label(logits, labels), atol=1e-4)


def test_an_image_does_not_serve_its_own_temperature():
    logits, labels = draw(40, 4, 1.0)
    before = cross_fitted(logits, labels)
    logits[7] *= 100
    changed = cross_fitted(logits, labels) != before
    assert not changed[7]
    assert changed.any()


@pytest.mark.parametrize("labels", [torch.tensor([0, 4]), torch.tensor([-1, 0]), torch.eye(2), torch.rand(2)])
def test_labels_that_name_no_class_are_refused(labels):
    with pytest.raises(DataError, match=r"class ind|logits"):
        fit_temperature(torch.rand(2, 4), labels)


def test_logits_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="NaN or infinite logits for the comparison set"):
        fit_temperature(torch.full((4, 2), torch.nan), torch.tensor([0, 1, 0, 1]))
