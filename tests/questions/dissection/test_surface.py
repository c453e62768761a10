"""Enlarged maps are Pillow's to the last bit, and counting without enlarging them counts the same pixels."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kdlens.questions.dissection.enlarge import enlarge
from kdlens.questions.dissection.surface import Surface

SIZES = [
    ((7, 7), (112, 112)),
    ((8, 8), (32, 32)),
    ((16, 16), (112, 112)),
    ((3, 4), (15, 20)),
    ((1, 1), (8, 8)),
    ((5, 7), (113, 112)),
    ((4, 4), (12, 20)),
    ((9, 9), (9, 9)),
    ((56, 56), (28, 28)),
]


def by_pillow(maps, size):
    large = [Image.fromarray(one.numpy()).resize(size[::-1], Image.Resampling.BILINEAR) for one in maps]
    return torch.stack([torch.from_numpy(np.array(one)) for one in large])


def counted_plainly(large, thresholds, ids, labels):
    above = large.double() > thresholds[:, None, None]
    columns = [above.flatten(1).sum(1)]
    columns += [(above[:, None] & (ids == label)).flatten(1).sum(1) for label in range(1, labels + 1)]
    return torch.stack(columns, 1).float()


def test_the_map_of_the_paper_s_example():
    maps = torch.tensor([[[0.0, 0.0], [0.0, 4.0]]])
    expected = [[0, 0, 0, 0], [0, 0.25, 0.75, 1], [0, 0.75, 2.25, 3], [0, 1, 3, 4]]
    assert enlarge(maps, (4, 4))[0].tolist() == expected
    above = Surface((2, 2), (4, 4)).above(maps, torch.tensor([1.0], dtype=torch.float64))
    everywhere = Surface((2, 2), (4, 4)).arrange(torch.ones(1, 4, 4, dtype=torch.uint8), 1)
    assert above.count(everywhere).tolist() == [[4, 4]]  # strictly above: 1 itself is not


@pytest.mark.parametrize(("small", "large"), SIZES)
@pytest.mark.parametrize("seed", [0, 1])
def test_enlarged_as_pillow_does(small, large, seed):
    maps = torch.randn(40, *small, generator=torch.Generator().manual_seed(seed))
    maps *= 10.0 ** torch.arange(-4, 4).repeat(5)[:, None, None]
    assert torch.equal(enlarge(maps, large), by_pillow(maps, large))


@pytest.mark.parametrize("fewest", [0, 64 * 64, 10**9])
@pytest.mark.parametrize(("small", "large"), SIZES)
def test_counted_as_on_the_enlarged_map(small, large, fewest, monkeypatch):
    monkeypatch.setattr("kdlens.questions.dissection.surface.FEWEST_PIXELS", fewest)
    draw = torch.Generator().manual_seed(3)
    maps = torch.randn(60, *small, generator=draw)
    maps[::4] = maps[::4].relu()
    enlarged = by_pillow(maps, large)
    thresholds = torch.randn(60, generator=draw).double()
    thresholds[::5] = maps.flatten(1)[::5, -1].double()  # a value of the map itself, which corners of the image repeat
    thresholds[1::5] = enlarged.flatten(1)[1::5, 5].double()  # a pixel that must not count
    thresholds[2::5] = 0
    ids = torch.randint(0, 6, (3, *large), generator=draw, dtype=torch.uint8)
    surface = Surface(small, large)
    found = surface.above(maps, thresholds).count(surface.arrange(ids, 5))
    assert torch.equal(found, counted_plainly(enlarged, thresholds, ids, 5))


@pytest.fixture
def cut_into_cells(monkeypatch):
    """Also small masks, which would be enlarged as a whole."""
    monkeypatch.setattr("kdlens.questions.dissection.surface.FEWEST_PIXELS", 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(4, 9), st.integers(4, 9)),
    st.integers(0, 2**31),
)
def test_any_whole_ratio(cut_into_cells, small, ratio, seed):
    large = (small[0] * ratio[0], small[1] * ratio[1])
    draw = torch.Generator().manual_seed(seed)
    maps = torch.randint(-3, 4, (9, *small), generator=draw).float()  # few values: many ties with the threshold
    thresholds = torch.randint(-3, 4, (9,), generator=draw).double()
    ids = torch.randint(0, 3, (2, *large), generator=draw, dtype=torch.uint8)
    surface = Surface(small, large)
    assert surface.ratio == ratio
    above, labels = surface.above(maps, thresholds), surface.arrange(ids, 2)
    expected = counted_plainly(by_pillow(maps, large), thresholds, ids, 2)
    assert torch.equal(above.count(labels), expected)


def test_a_label_in_two_masks_of_a_pixel_counts_twice():
    surface = Surface((2, 2), (8, 8))
    ids = torch.ones(2, 8, 8, dtype=torch.uint8)
    above = surface.above(torch.ones(1, 2, 2), torch.zeros(1, dtype=torch.float64))
    assert above.count(surface.arrange(ids, 1)).tolist() == [[64, 128]]


def test_nothing_lies_above_nan():
    surface = Surface((2, 2), (8, 8))
    above = surface.above(torch.ones(1, 2, 2), torch.tensor([torch.nan], dtype=torch.float64))
    assert above.count(surface.arrange(torch.ones(1, 8, 8, dtype=torch.uint8), 1)).tolist() == [[0, 0]]
