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


def places_above(surface, maps, thresholds):
    found = surface.above(maps, thresholds)
    maps_of = torch.arange(len(maps)).repeat_interleave(found.ends.diff(prepend=torch.zeros(1, dtype=torch.int64)))
    height, width = surface.large
    pixels = surface.ordered(torch.arange(height * width).view(height, width), outside=-1)[found.places]
    mask = torch.zeros(len(maps), height * width, dtype=torch.bool)
    mask[maps_of[pixels >= 0], pixels[pixels >= 0]] = True
    assert mask.sum() == (pixels >= 0).sum()  # none twice
    return mask.view(len(maps), height, width)


def test_the_map_of_the_paper_s_example():
    maps = torch.tensor([[[0.0, 0.0], [0.0, 4.0]]])
    expected = [[0, 0, 0, 0], [0, 0.25, 0.75, 1], [0, 0.75, 2.25, 3], [0, 1, 3, 4]]
    assert enlarge(maps, (4, 4))[0].tolist() == expected
    above = places_above(Surface((2, 2), (4, 4)), maps, torch.tensor([1.0], dtype=torch.float64))
    assert above[0].nonzero().tolist() == [[2, 2], [2, 3], [3, 2], [3, 3]]  # strictly above: 1 itself is not


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
    assert torch.equal(
        places_above(Surface(small, large), maps, thresholds), enlarged.double() > thresholds[:, None, None]
    )


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
    surface = Surface(small, large)
    assert surface.ratio == ratio
    expected = by_pillow(maps, large).double() > thresholds[:, None, None]
    assert torch.equal(places_above(surface, maps, thresholds), expected)


def test_pixels_are_counted_by_region():
    above = Surface((2, 2), (4, 4)).above(
        torch.tensor([[[0.0, 0.0], [0.0, 4.0]]]).expand(3, 2, 2), torch.ones(3).double()
    )
    regions = torch.zeros(4, 4, dtype=torch.int64)
    regions[3] = 1
    assert above.count(regions.flatten(), 2).tolist() == [[2, 2]] * 3
    assert above.of(1, 3).count(regions.flatten(), 2).tolist() == [[2, 2]] * 2


def test_nothing_lies_above_nan():
    assert not len(Surface((2, 2), (64, 64)).above(torch.ones(1, 2, 2), torch.tensor([torch.nan]).double()).places)
