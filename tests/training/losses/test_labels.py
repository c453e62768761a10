"""Label terms against their definitions."""

import math

import pytest
import torch

from kdlens.errors import ConfigError
from kdlens.training.losses import Inputs
from kdlens.training.losses.labels import Labels, LabelSmoothing


def test_cross_entropy_by_hand():
    terms = Labels()(Inputs(torch.tensor([0, 2]), torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])))
    first = -math.log(math.exp(1) / (math.exp(1) + math.exp(2) + math.exp(3)))
    assert terms["labels"].item() == pytest.approx((first + math.log(3)) / 2, rel=1e-6)


def test_smoothing_mixes_in_the_uniform_distribution():
    logits, labels = torch.randn(4, 5, dtype=torch.float64), torch.tensor([0, 4, 2, 2])
    target = 0.8 * torch.nn.functional.one_hot(labels, 5) + 0.2 / 5
    by_hand = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(LabelSmoothing(smoothing=0.2)(Inputs(labels, logits))["labels"], by_hand)


def test_no_smoothing_is_plain_cross_entropy():
    inputs = Inputs(torch.tensor([1]), torch.randn(1, 3))
    torch.testing.assert_close(LabelSmoothing(smoothing=0.0)(inputs)["labels"], Labels()(inputs)["labels"])


def test_full_smoothing_is_refused():
    with pytest.raises(ConfigError, match="smoothing must be at least 0 and less than 1, not 1"):
        LabelSmoothing(smoothing=1)
