"""Attention transfer against numpy, and the mistake it must not repeat."""

import numpy as np
import pytest
import torch

from kdlens.errors import ConfigError, LayerNotFoundError, LayerShapeError
from kdlens.training.losses import Inputs
from kdlens.training.losses.attention import AttentionTransfer, attention_distance, attention_map


def by_hand(a, power=2):
    q = (np.abs(a) ** power).sum(1).reshape(len(a), -1)
    return q / np.linalg.norm(q, axis=1, keepdims=True)


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_map_and_distance_by_hand(power):
    mine, theirs = np.random.default_rng(0).normal(size=(2, 3, 4, 5, 6))
    torch.testing.assert_close(attention_map(torch.from_numpy(mine), power), torch.from_numpy(by_hand(mine, power)))
    distance = attention_distance(torch.from_numpy(mine), torch.from_numpy(theirs), power)
    assert distance.item() == pytest.approx(((by_hand(mine, power) - by_hand(theirs, power)) ** 2).mean())


def test_only_where_counts_and_not_how_much():
    x = torch.randn(2, 3, 4, 4)
    assert attention_distance(x, 7 * x).item() == pytest.approx(0, abs=1e-12)
    assert attention_distance(x, x.flip(3)).item() > 1e-4


def test_a_map_of_zeros_is_zero_and_sends_no_nan_back():
    x = torch.zeros(1, 2, 3, 3, requires_grad=True)
    distance = attention_distance(x, torch.randn(1, 2, 3, 3))
    distance.backward()
    assert torch.isfinite(distance)
    assert torch.isfinite(x.grad).all()


def test_different_grids_meet_at_the_smaller():
    small = torch.randn(2, 3, 4, 4)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert attention_distance(large, small).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("shape", [(2, 10), (2, 10, 1, 1)])
def test_logits_and_pooled_vectors_are_refused(shape):
    """On them the loss would be identically zero, and nothing would be distilled."""
    x = torch.randn(shape)
    inputs = Inputs(torch.zeros(2).long(), torch.zeros(2, 3), torch.zeros(2, 3), (x,), (x,))
    with pytest.raises(LayerShapeError, match="more than one position; a layer of the student gives"):
        AttentionTransfer().build(inputs)


def test_named_layers_are_checked_and_paired(make_network):
    example, student, teacher = torch.zeros(1, 3, 16, 16), make_network(4), make_network(8)
    with pytest.raises(LayerNotFoundError, match='layer "layer3" not found in Sequential; did you mean "layer'):
        AttentionTransfer(student_layers=["layer3"]).layers(student, teacher, example)
    with pytest.raises(ConfigError, match=r"there are 1 of the student .layer1. and 2 of the teacher"):
        AttentionTransfer(student_layers="layer1").layers(student, teacher, example)
    pairs = AttentionTransfer(student_layers=["layer1", "layer2"]).layers(student, teacher, example)
    assert pairs.student == pairs.teacher == ("layer1", "layer2")
