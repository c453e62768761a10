"""Cells: what the truth says is what was drawn, and nothing but the place decides about a cell."""

import collections
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import kdlens
from kdlens.data.cell_shapes import BACKGROUNDS, CELL_CLASSES, draw_cell
from kdlens.data.cells import Cells
from kdlens.errors import DataError

LEVELS = [0.0, 0.4, 0.9]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 9), st.sampled_from([32, 64, 91]))
def test_every_class_but_the_last_has_a_zone_that_tells_it_and_the_rest_of_the_cell(seed, kind, size):
    data = Cells("train", seed=seed, size=size, count=20)
    item, truth = data[10 + kind], data.truth(10 + kind)
    assert item.image.shape == (3, size, size)
    assert item.label == kind
    assert truth.unique().tolist() == pytest.approx(LEVELS if kind < 9 else [0])
    assert torch.equal(item.mask, truth > 0)
    if kind < 9:
        assert 0.01 < item.mask.float().mean() < 0.35
        assert item.image[:, item.mask].amax(0).min() > 0.2  # black is a background and nothing else


def on_black(kind, count=40):
    """Cells of a class on black, with their truth levels."""
    found = [draw_cell((9, i), kind, 96) for i in range(count)]
    return [cell for cell in found if cell.background == "black"]


@pytest.mark.parametrize("kind", range(10))
def test_on_black_the_picture_is_black_outside_the_truth_and_nowhere_else(kind):
    cells = on_black(kind)
    assert len(cells) > 3
    for cell in cells:
        assert np.array_equal(cell.image.any(0), cell.levels > 0)


@pytest.mark.parametrize(("kind", "channel"), [(3, 0), (4, 1), (5, 2)])
def test_borders_of_rectangles_have_the_colour_of_their_class(kind, channel):
    for cell in on_black(kind):
        border = cell.image[:, cell.levels == 2].astype(int)
        assert (border.argmax(0) == channel).all()
        assert (np.sort(border, 0)[2] - np.sort(border, 0)[1]).min() > 100


@pytest.mark.parametrize(("kind", "count"), [(6, 1), (7, 3), (8, 8)])
def test_as_many_tails_as_the_class_says(kind, count):
    from scipy.ndimage import label

    for cell in on_black(kind):
        assert label(cell.levels == 2, np.ones((3, 3)))[1] == count


@pytest.mark.parametrize("kind", [0, 3, 4, 5])
def test_the_border_goes_all_the_way_round(kind):
    from scipy.ndimage import label

    for cell in on_black(kind):
        outside, pieces = label(cell.levels != 2)
        assert pieces == 2
        assert not np.isin(outside[cell.levels == 1], outside[cell.levels == 0]).any()


def test_bars_and_crosses_lie_inside():
    for kind in (1, 2):
        for cell in on_black(kind):
            edge = np.pad(cell.levels, 1)
            around = np.stack([np.roll(edge, step, axis) for step in (1, -1) for axis in (0, 1)])
            assert not (around[:, edge == 2] == 0).any()


def test_backgrounds_say_nothing_about_the_class():
    data = Cells("test", size=32)
    count = collections.Counter((i % 10, data.background(i)) for i in range(len(data)))
    for kind in range(10):
        assert all(15 <= count[kind, name] <= 52 for name in BACKGROUNDS)
    assert data.background(3) == Cells("test", size=64).background(3)


def test_a_cell_depends_on_seed_split_and_index_alone():
    few, many = Cells("test", count=12), Cells("test", count=40)
    everything = many.gather(torch.arange(40))
    backwards = Cells("test", count=40).gather(torch.arange(39, -1, -1))
    assert torch.equal(few[7].image, many[7].image)
    assert torch.equal(everything[0][7], many[7].image)
    assert torch.equal(backwards[0].flip(0), everything[0])
    assert torch.equal(everything[2], many.truths(torch.arange(40)) > 0)
    assert not torch.equal(Cells("test", seed=1)[7].image, many[7].image)
    assert not torch.equal(Cells("test", seed=-1)[7].image, Cells("test", seed=1)[7].image)
    assert not torch.equal(Cells("train")[7].image, many[7].image)
    assert len({Cells("test")[10 * k].image.numpy().tobytes() for k in range(20)}) == 20


def test_cells_that_are_not_kept_come_out_the_same(monkeypatch):
    kept = Cells("test", count=5)[3].image
    monkeypatch.setattr("kdlens.data.cells._CACHE_BYTES", 0)
    data = Cells("test", count=5)
    assert torch.equal(data[3].image, kept)
    assert data._drawn == {}


def test_another_process_draws_the_same_bytes():
    code = "import kdlens; print(kdlens.Images(kdlens.load_dataset('cells', count=20)).fingerprint())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == kdlens.Images(Cells("test", count=20)).fingerprint()


def test_the_recommended_scale_is_that_of_the_images():
    images = kdlens.Images(Cells("train", count=600, size=32), mean=Cells.mean, std=Cells.std)
    x = images.batch(torch.arange(600))[0]
    assert x.mean().abs() < 0.1
    assert x.std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 16}, "size 16 is too small"),
        ({"count": 0}, "cannot make 0 cells"),
        ({"split": "valid"}, "valid"),
        ({"bias": 1}, 'has no option "bias"'),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        kdlens.load_dataset("cells", **options)


def test_there_is_no_cell_beyond_the_last():
    data = Cells("test", count=3)
    for index in (3, -1):
        with pytest.raises(IndexError, match="there is no cell"):
            data[index]
    assert len(list(data)) == 3
    assert data.gather(torch.tensor([], dtype=torch.int64))[0].shape == (0, 3, 64, 64)
    assert len(CELL_CLASSES) == 10
