"""Enlarged maps are Pillow's to the last bit, and counting without enlarging them counts the same pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kdlens.questions.dissection.enlarge import enlarge
from kdlens.questions.dissection.surface import find_above

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


def places_above(maps, thresholds, size):
    """What `find_above` finds, pixel by pixel."""
    found = find_above(maps, thresholds, size)
    height, width = size
    edges = np.zeros((len(maps), (height + 1) * width), dtype=int)
    of_map = np.repeat(np.arange(len(maps)), np.diff(found.ends, prepend=0))
    np.add.at(edges, (of_map, found.starts), 1)
    np.add.at(edges, (of_map, found.stops), -1)
    mask = edges.reshape(len(maps), height + 1, width).cumsum(1)[:, :-1]
    assert set(np.unique(mask)) <= {0, 1}  # none twice
    assert found.area.tolist() == mask.sum((1, 2)).tolist()
    return torch.from_numpy(mask == 1)


def test_the_map_of_the_paper_s_example():
    maps = torch.tensor([[[0.0, 0.0], [0.0, 4.0]]])
    expected = [[0, 0, 0, 0], [0, 0.25, 0.75, 1], [0, 0.75, 2.25, 3], [0, 1, 3, 4]]
    assert enlarge(maps, (4, 4))[0].tolist() == expected
    above = places_above(maps, torch.tensor([1.0], dtype=torch.float64), (4, 4))
    assert above[0].nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]  # strictly above: 1 itself is not


@pytest.mark.parametrize(("small", "large"), SIZES)
@pytest.mark.parametrize("seed", [0, 1])
def test_enlarged_as_pillow_does(small, large, seed):
    maps = torch.randn(40, *small, generator=torch.Generator().manual_seed(seed))
    maps *= 10.0 ** torch.arange(-4, 4).repeat(5)[:, None, None]
    assert torch.equal(enlarge(maps, large), by_pillow(maps, large))


@pytest.mark.parametrize(("small", "large"), SIZES)
def test_counted_as_on_the_enlarged_map(small, large):
    draw = torch.Generator().manual_seed(3)
    maps = torch.randn(60, *small, generator=draw)
    maps[::4] = maps[::4].relu()
    enlarged = by_pillow(maps, large)
    thresholds = torch.randn(60, generator=draw).double()
    thresholds[::5] = maps.flatten(1)[::5, -1].double()  # a value of the map itself, which corners of the image repeat
    thresholds[1::5] = enlarged.flatten(1)[1::5, 5].double()  # a pixel that must not count
    thresholds[2::5] = 0
    assert torch.equal(places_above(maps, thresholds, large), enlarged.double() > thresholds[:, None, None])


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_any_size(small, large, whole, seed):
    """Whole ratios, others, and maps made smaller; few values, so that many tie with the threshold."""
    large = (small[0] * (1 + large[0] % 9), small[1] * (1 + large[1] % 9)) if whole else large
    draw = torch.Generator().manual_seed(seed)
    maps = torch.randint(-3, 4, (9, *small), generator=draw).float()
    thresholds = torch.randint(-3, 4, (9,), generator=draw).double()
    grown = large[0] >= small[0] and large[1] >= small[1]
    expected = (by_pillow if grown else enlarge)(maps, large).double() > thresholds[:, None, None]
    assert torch.equal(places_above(maps, thresholds, large), expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 30), st.floats(1e-12, 1e-5), st.integers(0, 2**31))
def test_pixels_that_hardly_differ_from_the_threshold(ratio, share, seed):
    draw = torch.Generator().manual_seed(seed)
    maps = 1 + share * torch.randn(6, 4, 5, generator=draw)
    large = (4 * ratio, 5 * ratio)
    thresholds = by_pillow(maps, large).flatten(1)[:, -7].double()
    expected = by_pillow(maps, large).double() > thresholds[:, None, None]
    assert torch.equal(places_above(maps, thresholds, large), expected)


def test_a_part_of_the_maps():
    draw = torch.Generator().manual_seed(0)
    maps, limits = torch.randn(5, 3, 3, generator=draw), torch.zeros(5).double()
    every, part = find_above(maps, limits, (12, 12)), find_above(maps[1:4], limits[1:4], (12, 12))
    found = every.of(1, 4)
    assert found.area.tolist() == part.area.tolist()
    assert found.starts.tolist() == part.starts.tolist()


def test_nothing_lies_above_nan():
    assert find_above(torch.ones(1, 2, 2), torch.tensor([torch.nan]).double(), (64, 64)).area.tolist() == [0]
