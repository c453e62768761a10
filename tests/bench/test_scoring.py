import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdlens.bench.scoring import score
from kdlens.bench.truth import removal_effects, shares_of, temperature_of
from kdlens.data.planted import PlantedImages

TAUGHT = torch.tensor([1.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def data():
    return PlantedImages("columns", count=60, seed=8)


def truth_for(data, row):
    return row.expand(len(data), 3)


def test_a_map_of_the_taught_cue_is_right_and_one_of_the_other_is_wrong(data):
    perfect = score(data.masks[:, 0].float(), data.masks, truth_for(data, TAUGHT))
    assert perfect.right.min() > 0.999
    assert perfect.elsewhere.max() < 1e-6
    wrong = score(data.masks[:, 2].float(), data.masks, truth_for(data, TAUGHT))
    assert wrong.right.mean() < 0.1  # a margin can reach into the next column
    assert wrong.shares[:, 2].min() > 0.999


def test_a_constant_map_is_right_by_chance(data):
    for row in (TAUGHT, torch.tensor([0.5, 0.5, 0.0])):
        found = score(torch.ones(60, 32, 32), data.masks, truth_for(data, row))
        assert torch.allclose(found.right, found.chance)
        assert 0.05 < found.chance.mean() < 0.4


def test_negative_parts_strength_and_misses_by_two_pixels_do_not_count(data):
    maps = data.masks[:, 0].float()
    moved = maps.roll((1, 1), (1, 2)) - 3 * data.masks[:, 2].float()
    inside = score(7 * moved, data.masks, truth_for(data, TAUGHT))
    assert inside.right.mean() > 0.93  # a cue at the border comes back on the other side
    far = score(maps.roll(16, 1), data.masks, truth_for(data, TAUGHT))
    assert far.right.mean() < 0.1


def test_energy_elsewhere_counts_in_the_denominator(data):
    cue = data.masks[:, 0].float()
    free = ~(F.max_pool2d(data.masks.float(), 5, 1, 2) > 0).any(1)
    background = free / free.sum((1, 2), keepdim=True) * cue.sum((1, 2), keepdim=True)
    found = score(cue + background, data.masks, truth_for(data, TAUGHT))
    assert torch.allclose(found.right, torch.full((60,), 0.5), atol=1e-4)
    assert torch.allclose(found.elsewhere, torch.full((60,), 0.5), atol=1e-4)


def test_with_two_cues_in_the_truth_a_map_of_one_is_half_right():
    data = PlantedImages("scattered", count=40)
    both = truth_for(data, torch.tensor([0.5, 0.5, 0.0]))
    one = score(data.masks[:, 0].float(), data.masks, both)
    assert torch.allclose(one.right, torch.full((40,), 0.5), atol=0.05)
    area = data.masks.flatten(2).sum(2)[..., None, None]
    balanced = (data.masks / area)[:, :2].sum(1)
    assert score(balanced, data.masks, both).right.mean() > 0.97


def test_empty_maps_and_images_with_nothing_to_show_are_left_out(data):
    maps = data.masks[:, 0].float()
    maps[:15] = -1.0
    truth = truth_for(data, TAUGHT).clone()
    truth[15:20] = 0
    found = score(maps, data.masks, truth)
    assert found.empty == 0.25
    assert len(found.right) == len(found.shares) == len(found.chance) == 40
    assert found.right.min() > 0.999


def test_the_margin_grows_with_the_image():
    large = PlantedImages("columns", count=30, size=64)
    moved = large.masks[:, 0].float().roll((3, 3), (1, 2))
    assert score(moved, large.masks, truth_for(large, TAUGHT)).right.mean() > 0.93


class Reads(nn.Module):
    """Knows the evidence of each image by heart, and how much of a cue's region is left."""

    def __init__(self, data, cues, strength):
        super().__init__()
        self.data, self.cues, self.strength = data, cues, strength

    def forward(self, x):
        shown = (x * 0.25 + 0.45 - self.data.images[: len(x)]).abs().amax(1) < 1e-5
        logits = torch.zeros(len(x), 4)
        for k in self.cues:
            there = (shown | ~self.data.masks[: len(x), k]).flatten(1).all(1)
            logits += self.strength * there[:, None] * F.one_hot(self.data.votes[: len(x), k], 4)
        return logits


def test_the_temperature_finds_the_log_odds(data):
    large = PlantedImages("columns", count=400)
    for strength in (1.0, 6.0):
        network = Reads(large, [1], strength)
        share = (large.votes[:, 1] == large.labels).double().mean()
        expected = torch.log(share / ((1 - share) / 3)) / strength
        assert 1 / temperature_of(network, large, large.labels) == pytest.approx(expected.item(), rel=0.05)


def test_the_effect_of_removing_a_cue_is_what_the_one_network_knows_of_it_and_the_other_does_not():
    data = PlantedImages("columns", count=40)
    student, baseline = Reads(data, [0, 1], 2.0), Reads(data, [1, 2], 4.0)
    everything, labels = torch.arange(40), data.labels
    effects = removal_effects(student, baseline, data, everything, labels, (1.0, 2.0))
    right = (data.votes == labels[:, None]).float() - 0.25  # centred: a vote for the label lifts it by 3/4
    expected = 2 * torch.stack([right[:, 0], torch.zeros(40), -right[:, 2]], 1)
    assert torch.allclose(effects, expected, atol=1e-5)
    reverse = removal_effects(baseline, student, data, everything, labels, (2.0, 1.0))
    assert torch.allclose(reverse, -effects, atol=1e-5)
    assert torch.equal(shares_of(effects)[right[:, 0] > 0, 0] > 0, torch.ones(int((right[:, 0] > 0).sum())) > 0)
