"""Gains in detectors: counts told exactly, jackknife and Student's t as written out by hand, pairing."""

import math
from types import SimpleNamespace

import pytest
import torch

from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.errors import ConfigError
from kdlens.questions.dissection.concepts import best_labels
from kdlens.questions.dissection.dissect import dissect_readers
from kdlens.questions.dissection.gain import counted, gain
from kdlens.questions.dissection.plan import Plan
from kdlens.stats.student_t import t_quantile, t_tail

WORDS = Vocabulary.of({"object": ["cat", "dog"], "color": ["red"]})


def best(ious):
    """One label a unit: cat, dog, red in turn, with the IoUs given."""
    matrix = torch.zeros(len(ious), 4, dtype=torch.float64)
    matrix[torch.arange(len(ious)), 1 + torch.arange(len(ious)) % 3] = torch.tensor(ious, dtype=torch.float64)
    return best_labels(matrix, WORDS)


def layer(ious, left_out, held_out=None, images=40):
    """What `gain` asks of a dissection."""
    return SimpleNamespace(
        best=best(ious),
        left_out=[best(left) for left in left_out],
        held_out=torch.tensor(held_out or ious),
        held_out_left_out=[torch.tensor(left) for left in left_out],
        tally=SimpleNamespace(groups=len(left_out)),
        vocabulary=WORDS,
        units=len(ious),
        images=images,
    )


ONE = layer([0.1, 0.1, 0.1, 0.0], [[0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.0, 0.0], [0.1] * 3 + [0.0], [0.1] * 3 + [0.0]])
OTHER = layer([0.1, 0.0, 0.0, 0.0], [[0.1, 0.0, 0.0, 0.0]] * 4)


def test_the_interval_is_the_jackknife_of_the_differences():
    found = gain([ONE], [OTHER], 0.04)
    left = [3.0, 1.0, 2.0, 2.0]  # 4-1, 2-1, 3-1, 3-1
    error = math.sqrt(3 / 4 * sum((one - 2.0) ** 2 for one in left))
    assert (found.value, found.images) == (2.0, 40)
    assert found.high - found.value == pytest.approx(t_quantile(0.975, 3) * error)
    assert found.value - found.low == pytest.approx(t_quantile(0.975, 3) * error)
    assert found.p == pytest.approx(2 * t_tail(2.0 / error, 3))


def test_what_both_share_cancels():
    """The same groups of images move both: no spread of the difference is left but the one unit that is taken."""
    found = gain([ONE], [ONE], 0.04)
    least = math.sqrt(3 / 4 * (1 - 1 / 4))
    assert (found.value, found.p) == (0.0, 1.0)
    assert found.high == pytest.approx(t_quantile(0.975, 3) * least)


def test_seeds_are_added_in_quadrature():
    found = gain([ONE, OTHER, ONE], [OTHER, OTHER, OTHER], 0.04)  # 2, 0, 2
    left = [(3 + 0 + 3) / 3, (1 + 0 + 1) / 3, 4 / 3, 4 / 3]
    images = math.sqrt(3 / 4 * sum((one - sum(left) / 4) ** 2 for one in left))
    runs = math.sqrt(sum((one - 4 / 3) ** 2 for one in (2, 0, 2)) / 2 / 3)
    assert found.value == pytest.approx(4 / 3)
    half = math.hypot(t_quantile(0.975, 3) * images, t_quantile(0.975, 2) * runs)
    assert found.high - found.value == pytest.approx(half)


@pytest.mark.parametrize("seed", range(8))
def test_p_is_below_a_twentieth_exactly_where_the_interval_excludes_0(seed):
    generator = torch.Generator().manual_seed(seed)

    def at_random(shift):
        ious = (torch.rand(30, generator=generator) + shift > 0.5).float() * 0.1
        flips = [torch.where(torch.rand(30, generator=generator) < 0.05, 0.1 - ious, ious).tolist() for _ in range(6)]
        return layer(ious.tolist(), flips)

    seeds = 1 + seed % 3
    found = gain([at_random(0.1 * seed) for _ in range(seeds)], [at_random(0.0) for _ in range(seeds)], 0.04)
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


@pytest.mark.parametrize(
    ("told", "value"),
    [({"of": "total"}, 3), ({"of": "share"}, 0.75), ({"of": "unique"}, 3), ({"category": "object"}, 2)],
)
def test_what_is_counted(told, value):
    assert counted(ONE, 0.04, **told)[0] == value
    assert counted(layer([0.1] * 4, [[0.1] * 4] * 2), 0.04, "unique")[0] == 3  # cat, dog, red, cat


def test_another_dissection_of_other_images_is_refused():
    with pytest.raises(ConfigError, match="dissect both networks in one call"):
        gain([ONE], [layer([0.1], [[0.1]] * 4, images=41)])
    with pytest.raises(ConfigError, match="as many dissections of both"):
        gain([ONE, ONE], [OTHER])


def test_left_out_groups_are_dissections_without_them(anything):
    """The left-out counts of a real dissection, by adding up the sums of the other groups."""
    data = anything(n=60, units=6)
    plan = Plan(groups=5, shuffles=2, min_images=1)
    read = lambda images: {"maps": images}  # noqa: E731
    found = dissect_readers({"net": read}, data, plan, lambda text: None)["net", "maps"]
    for left, one in enumerate(found.left_out):
        rest = found.tally.part(torch.tensor([group for group in range(5) if group != left]))
        assert torch.equal(one.ious.amax(0), (rest.iou("paper")[0] * found.allowed).amax(1))
    assert len(found.deals) == 2
    value, left_out = counted(found, 0.04, "held_out")
    assert value == float((found.held_out >= 0.04).sum())
    assert len(left_out) == 5
