"""Alignment of loss gradients with masks: by hand, against plain autograd, and without a trace in the network."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kdlens.errors import DataError, ModelError, StatisticsError
from kdlens.measures.alignment import gradient_alignment, gradient_strength


def linear(weights):
    """Two classes told apart by these weights `(H, W)` alone, so that the gradient is known."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(weights.numel(), 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([weights.flatten(), torch.zeros(weights.numel())]))
    return network.eval()


WEIGHTS = torch.tensor([[3.0, 1.0], [-2.0, 4.0]])
MASK = torch.tensor([[[True, False], [True, False]]])


def test_by_hand():
    found = gradient_alignment(linear(WEIGHTS), torch.rand(1, 1, 2, 2), torch.tensor([1]), MASK)
    assert found.energy.value == pytest.approx(5 / 10)
    assert found.area.value == 0.5
    assert found.pointing.value == 0
    assert found.energy_excess.value == pytest.approx(0)
    assert found.pointing_excess.value == -0.5
    inside = gradient_alignment(linear(WEIGHTS), torch.rand(1, 1, 2, 2), torch.tensor([0]), ~MASK)
    assert (inside.pointing.value, inside.n) == (1, 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_strength_is_the_gradient_of_the_cross_entropy_up_to_a_factor(seed):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 5)).double()
    x, y = torch.rand(3, 3, 6, 6, dtype=torch.float64), torch.randint(5, (3,))
    images = x.clone().requires_grad_()
    [gradient] = torch.autograd.grad(F.cross_entropy(network(images), y, reduction="sum"), images)
    expected = gradient.square().sum(1).sqrt().flatten(1)
    found = gradient_strength(network, x, y, batch_size=2)
    ratio = found / expected
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-6, atol=0)


def test_a_network_that_is_sure_has_a_gradient_all_the_same():
    found = gradient_alignment(
        linear(1000 * WEIGHTS), torch.ones(2, 1, 2, 2), torch.zeros(2).long(), MASK.repeat(2, 1, 1)
    )
    assert found.energy.value == pytest.approx(0.5)
    assert sum(found.skipped.values()) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_a_mask_and_its_complement_share_the_energy_and_scale_does_not_count(seed, scale):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(4, 1, 3, 3, generator=generator)
    masks = torch.rand(4, 3, 3, generator=generator) < 0.5
    masks[:, 0, 0], masks[:, 0, 1] = True, False
    network = linear(torch.randn(3, 3, generator=generator))
    labels = torch.tensor([0, 1, 0, 1])
    found = gradient_alignment(network, x, labels, masks)
    other = gradient_alignment(network, x, labels, ~masks)
    assert found.energy.value + other.energy.value == pytest.approx(1)
    assert found.pointing.value + other.pointing.value == pytest.approx(1)
    assert found.area.value + other.area.value == pytest.approx(1)
    with torch.no_grad():
        network[1].weight.mul_(scale)
    assert gradient_alignment(network, x, labels, masks).energy.value == pytest.approx(found.energy.value, rel=1e-4)


def test_gradients_of_noise_have_the_energy_of_chance():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 64), nn.ReLU(), nn.Linear(64, 10))
    masks = torch.zeros(200, 8, 8, dtype=torch.bool)
    masks[:, 2:6, 1:7] = True
    found = gradient_alignment(network, torch.rand(200, 3, 8, 8), torch.randint(10, (200,)), masks)
    assert found.energy.value == pytest.approx(found.area.value, abs=0.03)
    assert found.pointing.value == pytest.approx(found.area.value, abs=0.15)


def test_images_without_object_or_background_are_skipped_and_counted():
    masks = torch.stack([MASK[0], torch.zeros(2, 2).bool(), torch.ones(2, 2).bool()])
    found = gradient_alignment(linear(WEIGHTS), torch.rand(3, 1, 2, 2), torch.tensor([0, 0, 0]), masks)
    assert found.n == 1
    assert found.skipped == {"no object": 1, "no background": 1, "no gradient": 0}
    assert math.isnan(found.energy.low)


def test_a_constant_network_has_no_gradient():
    with pytest.raises(StatisticsError, match=r"none of 1 images can be used .1 with no gradient."):
        gradient_alignment(linear(torch.zeros(2, 2)), torch.rand(1, 1, 2, 2), torch.tensor([0]), MASK)


def test_the_network_comes_back_as_it_was():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Linear(64, 3)
    ).train()
    network[0].weight.requires_grad_(False)
    before = copy.deepcopy(network.state_dict())
    masks = torch.zeros(5, 6, 6)
    masks[:, :3] = 1
    images = torch.rand(5, 3, 6, 6)
    state = torch.random.get_rng_state()
    with torch.no_grad():
        one = gradient_alignment(network, images, torch.tensor([0, 1, 2, 0, 1]), masks, batch_size=5)
        two = gradient_alignment(network, images, torch.tensor([0, 1, 2, 0, 1]), masks, batch_size=2)
    assert one.energy.value == pytest.approx(two.energy.value, rel=1e-6)
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert [p.requires_grad for p in network.parameters()] == [False, *[True] * 5]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert not images.requires_grad


def test_the_table_names_chance():
    frame = gradient_alignment(
        linear(WEIGHTS), torch.rand(4, 1, 2, 2), torch.zeros(4).long(), MASK.repeat(4, 1, 1)
    ).to_frame()
    rows = frame.set_index("measure")
    assert rows.loc["energy", "chance"] == rows.loc["area", "value"] == 0.5
    assert (rows.n == 4).all()


X, Y = torch.rand(2, 1, 2, 2), torch.tensor([0, 1])
MASKS = MASK.repeat(2, 1, 1)


@pytest.mark.parametrize(
    ("images", "labels", "masks", "message"),
    [
        (X[0], Y, MASKS, r"expected .n, C, H, W."),
        (X, Y[:1], MASKS, "expected 2 class indices"),
        (X, Y.float(), MASKS, "labels are torch.float32"),
        (X, Y + 1, MASKS, "labels reach from 1 to 2; the network has 2"),
        (X, Y, torch.ones(2, 4, 4), r"masks have shape .2, 4, 4.; expected .2, 2, 2."),
        (X, Y, None, "masks have shape None"),
        (X * math.nan, Y, MASKS, "the images hold NaN"),
        (X, Y, MASKS * math.nan, "the masks hold NaN"),
    ],
)
def test_what_does_not_fit_is_refused(images, labels, masks, message):
    with pytest.raises(DataError, match=message) as refused:
        gradient_alignment(linear(WEIGHTS), images, labels, masks)
    assert "\n" not in str(refused.value)


def test_what_is_no_classifier_is_refused():
    with pytest.raises(ModelError, match=r"the network gives .2, 1, 2, 2.; logits"):
        gradient_alignment(nn.Identity(), X, Y, MASKS)
    with pytest.raises(ModelError, match="the network is the text"):
        gradient_alignment("resnet8", X, Y, MASKS)


def test_masks_without_background_everywhere_are_an_error():
    with pytest.raises(StatisticsError, match="2 with no background"):
        gradient_alignment(linear(WEIGHTS), X, Y, torch.ones(2, 2, 2))
