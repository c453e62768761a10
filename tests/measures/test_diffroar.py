"""DiffROAR on a problem with a known answer, and its masks against a plain sort."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import kdlens
from kdlens.errors import ConfigError, DataError, ModelError, StatisticsError
from kdlens.measures.diffroar import diffroar
from kdlens.measures.masked import Masked, ends, fill_value, gradients, rank
from kdlens.models.fresh import fresh_copy
from kdlens.training.batches import as_batches

COORDINATES = 8
QUICK = {"epochs": 4, "optimizer": {"name": "adam", "lr": 0.1}, "batch_size": 100}


def one_coordinate(count, seed):
    """Images (1, 1, 8) whose class is the sign of the first coordinate; the others are noise."""
    x = torch.randn(count, 1, 1, COORDINATES, generator=torch.Generator().manual_seed(seed))
    return x, (x[:, 0, 0, 0] > 0).long()


def judge(weights):
    """A linear classifier whose gradients are these weights."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(COORDINATES, 2))
    with torch.no_grad():
        network[1].weight.copy_(torch.stack([-weights, weights]))
        network[1].bias.zero_()
    return network


RIGHT = judge(torch.eye(COORDINATES)[0])
WRONG = judge(torch.arange(COORDINATES).float())


def test_gradients_at_the_coordinate_that_tells_and_away_from_it():
    train, test = one_coordinate(500, 0), one_coordinate(500, 1)
    options = {"fractions": [1 / COORDINATES], "repeats": 2, "recipe": QUICK}
    right = kdlens.measures.diffroar(RIGHT, train, test, **options)[0]
    assert right.top.value > 0.97
    assert right.bottom.value == pytest.approx(0.5, abs=0.06)
    assert right.score.value == pytest.approx(0.5, abs=0.06)
    assert right.score.n == 2
    assert right.chance.value == pytest.approx(0, abs=0.08)
    assert right.chance.low < right.chance.high
    assert right.bottom.value < right.random.value < 0.7
    wrong = diffroar(WRONG, train, test, chance=False, **options)[0]
    assert wrong.score.value == pytest.approx(-0.5, abs=0.06)
    assert wrong.chance.n == 0
    assert math.isnan(wrong.chance.value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.95))
def test_the_highest_are_the_highest_whoever_is_beside(seed, fraction):
    heat = torch.randn(5, 20, generator=torch.Generator().manual_seed(seed))
    count = round(fraction * 20)
    top, bottom = ends(heat, fraction, torch.arange(5), seed)
    for row, high, low in zip(heat, top, bottom, strict=True):
        ranked = row.sort(descending=True).values.tolist()
        assert set(row[high].tolist()) == set(ranked[:count])
        assert set(row[low].tolist()) == set(ranked[-count:])
    alone = ends(heat[3:4], fraction, torch.tensor([3]), seed)
    assert torch.equal(alone[0][0], top[3])
    assert torch.equal(alone[1][0], bottom[3])


def test_ties_are_broken_by_chance_from_seed_and_image():
    heat, images = torch.zeros(2000, 10), torch.arange(2000)
    top, bottom = ends(heat, 0.3, images, 0)
    for found in (top, bottom):
        assert (found.sum(1) == 3).all()
        assert found.float().mean(0).tolist() == pytest.approx([0.3] * 10, abs=0.05)
    assert not (top & bottom).any()  # else a random ranking would have a score of exactly 0, and no spread
    assert torch.equal(top, ends(heat, 0.3, images, 0)[0])
    assert not torch.equal(top, ends(heat, 0.3, images, 1)[0])
    one = torch.zeros(200, 4)
    one[:, 2] = 1
    top, bottom = ends(one, 0.5, torch.arange(200), 0)
    assert top[:, 2].all()
    assert not bottom[:, 2].any()


def test_images_keep_what_is_kept_and_nothing_else():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(48, 4))
    x, y = torch.rand(7, 2, 4, 4), torch.randint(4, (7,))
    data = as_batches((x, y))
    options = {"attribution": "logit", "ranking": "coordinates", "seed": 0}
    kept = rank(network, data, 0.25, batch_size=3, **options)
    assert all(
        np.array_equal(a, b) for a, b in zip(kept, rank(network, data, 0.25, batch_size=7, **options), strict=True)
    )
    assert kept.top.shape == (7, 4)  # one bit a coordinate
    heat = gradients(network, x, y, "logit").abs().flatten(1)
    top = Masked(data, kept.top, -1.0, pixels=False).gather(torch.tensor([6, 0]))[0].flatten(1)
    for image, row, kept_values in zip(x[[6, 0]].flatten(1), heat[[6, 0]], top, strict=True):
        best = row.argsort(descending=True)[:8]
        expected = torch.full((32,), -1.0)
        expected[best] = image[best]
        assert torch.equal(kept_values, expected)


def test_pixels_are_kept_in_all_channels():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 4))
    data = as_batches((torch.rand(5, 3, 4, 4) + 1, torch.randint(4, (5,))))
    kept = rank(network, data, 0.5, attribution="loss", ranking="pixels", seed=0, batch_size=None)
    masked = Masked(data, kept.bottom, 0.0, pixels=True)
    images = torch.stack([masked[i][0] for i in range(5)])
    assert (images[:, :1] > 0).expand(-1, 3, -1, -1).equal(images > 0)
    assert ((images > 0).flatten(1).sum(1) == 24).all()


def test_the_attribution_is_the_gradient_it_says():
    network = judge(torch.arange(COORDINATES).float())
    x, y = one_coordinate(4, 0)
    predicted = network(x).argmax(1)
    expected = network[1].weight[predicted].view_as(x)
    torch.testing.assert_close(gradients(network, x, y, "logit"), expected)
    p = network(x).softmax(1)
    expected = torch.stack([(p[i] - torch.eye(2)[y[i]]) @ network[1].weight for i in range(4)]).view_as(x)
    torch.testing.assert_close(gradients(network, x, y, "loss"), expected)


def test_the_mean_that_fills_in_is_that_of_each_channel():
    x = torch.rand(300, 3, 4, 5)
    fill = fill_value(as_batches((x, torch.zeros(300).long())), "mean")
    torch.testing.assert_close(fill.flatten(), x.mean((0, 2, 3)))
    assert fill_value(as_batches((x, torch.zeros(300).long())), "zero") == 0


def test_the_network_and_the_random_state_come_back():
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(), nn.Flatten(), nn.Linear(COORDINATES, 2)).train()
    before = copy.deepcopy(network.state_dict())
    data = one_coordinate(40, 0)
    state = torch.random.get_rng_state()
    options = {"fractions": [0.5], "repeats": 1, "recipe": {"epochs": 1}, "fill": "mean"}
    first = diffroar(network, data, data, **options)
    assert torch.equal(state, torch.random.get_rng_state())
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert first.to_frame().equals(diffroar(network, data, data, **options).to_frame())
    assert first[0].score.n == 1
    assert math.isnan(first[0].score.low)
    assert first.to_frame().shape == (5, 6)


def test_images_of_any_dataset_will_do_and_build_makes_the_networks():
    scenes = kdlens.Images(kdlens.load_dataset("fashion-scenes", count=12, size=16), mean=[0.5], std=[0.25])
    seeds = []

    def build(seed):
        seeds.append(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 10))

    options = {"fractions": [0.2], "repeats": 2, "recipe": {"epochs": 1}, "ranking": "pixels", "seed": 5}
    found = diffroar(build(0), scenes, scenes, build=build, **options)
    assert found.images == 12
    assert seeds[1:] == [5, 6] * 4


def test_first_weights_are_drawn_anew_everywhere():
    network = kdlens.load_model("resnet8", classes=3)
    before = copy.deepcopy(network.state_dict())
    fresh = fresh_copy(network, 1)
    for (name, a), b in zip(fresh.named_parameters(), network.parameters(), strict=True):
        assert "conv" not in name or not torch.equal(a, b)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert torch.equal(fresh.fc.weight, fresh_copy(network, 1).fc.weight)
    assert not torch.equal(fresh.fc.weight, fresh_copy(network, 2).fc.weight)


class Token(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(8))

    def forward(self, x):
        return x.flatten(1) + self.token


def test_a_parameter_nobody_can_draw_again_is_an_error():
    data = one_coordinate(8, 0)
    with pytest.raises(ModelError, match=r'"0" .Token. has parameters and no reset_parameters.*give build'):
        diffroar(nn.Sequential(Token()), data, data, fractions=[0.5])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fractions": [0.1, 1.0]}, ConfigError, "a fraction of 1.0 is kept; it must lie between 0 and 1"),
        ({"fractions": [0]}, ConfigError, "a fraction of 0 is kept"),
        ({"fractions": [math.nan]}, ConfigError, "a fraction of nan"),
        ({"fractions": []}, ConfigError, "no fraction to keep"),
        ({"fractions": [0.01]}, DataError, "a fraction of 0.01 keeps 0 of 8 coordinates"),
        ({"fractions": [0.99]}, DataError, "a fraction of 0.99 keeps 8 of 8 coordinates"),
        ({"repeats": 0}, StatisticsError, "repeats is 0"),
        ({"ranking": "pixel"}, ConfigError, 'ranking "pixel" is unknown; did you mean "pixels"'),
        ({"fill": "black"}, ConfigError, 'fill "black" is unknown'),
        ({"attribution": "cam"}, ConfigError, 'attribution "cam" is unknown'),
        ({"recipe": {"out": "x"}}, ConfigError, 'the recipe sets "out"'),
    ],
)
def test_what_makes_no_sense_is_refused(options, error, message):
    data = one_coordinate(8, 0)
    with pytest.raises(error, match=message) as refused:
        diffroar(RIGHT, data, data, **options)
    assert "\n" not in str(refused.value)


def test_gradients_that_are_no_numbers_are_refused():
    data = one_coordinate(8, 0)
    with pytest.raises(DataError, match="gradients are NaN or infinite"):
        diffroar(judge(torch.full((COORDINATES,), math.nan)), data, data, fractions=[0.5])
    with pytest.raises(ModelError, match="logits"):
        diffroar(nn.Identity(), data, data, fractions=[0.5])
