"""Pictures: the same scale gives the same colour, colours rise evenly, and what comes back is what went in."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from kdlens.report.images import (
    baked_uri,
    colour_bar_uri,
    coloured,
    colours,
    dimmed,
    map_strength,
    map_uri,
    outline,
    picture_uri,
)


def decoded(uri):
    head, _, body = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def lightness(rgb):
    """CIE L* of sRGB colours in [0, 255]."""
    linear = np.where((c := rgb / 255) <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return 116 * np.cbrt(np.maximum(y, (6 / 29) ** 3)) - 16


def test_small_pictures_are_exact():
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    assert (decoded(picture_uri(picture)) == picture).all()


def test_large_pictures_shrink_and_keep_their_shape():
    ramp = np.linspace(0, 255, 600).astype(np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (300, 600, 3)).copy()
    found = decoded(picture_uri(picture, side=224))
    assert found.shape == (112, 224, 3)
    assert np.abs(found[:, :, 0].mean(0) - np.linspace(0, 255, 224)).max() < 6


@pytest.mark.parametrize("negative", [False, True])
def test_colours_rise_evenly(negative):
    light = lightness(colours(negative=negative)[:, :3].astype(float))
    assert (np.diff(light) > -0.3).all()
    assert light[-1] - light[0] > 55
    assert (np.diff(colours(negative=negative)[:, 3].astype(int)) >= 0).all()


@given(arrays(np.float32, (4, 5), elements=st.floats(-2, 2, width=32)), st.floats(0.125, 3))
def test_strength_is_the_share_of_the_scale(values, scale):
    positive, negative = map_strength(values, scale), map_strength(values, scale, negative=True)
    assert ((positive >= 0) & (positive <= 1)).all()
    assert positive == pytest.approx(np.clip(values / scale, 0, 1), abs=1e-6)
    assert (negative == map_strength(-values, scale)).all()
    assert not ((positive > 0) & (negative > 0)).any()


def test_equal_values_look_equal_in_every_map_of_a_scale():
    weak, strong = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    weak[:4], strong[:4], strong[4:] = 0.5, 0.5, 1.0
    one, two = coloured(map_strength(weak, 1.0)), coloured(map_strength(strong, 1.0))
    assert (one[:4] == two[:4]).all()
    assert (one[:4, :, 3] < two[4:, :, 3]).all() or (one[:4, :, :3].sum() < two[4:, :, :3].sum())


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_without_a_scale_there_is_nothing_to_see(scale):
    assert map_uri(np.ones((4, 4), np.float32), scale) == ""


def test_maps_without_positive_values_are_empty():
    assert map_uri(np.zeros((4, 4), np.float32), 1.0) == ""
    assert map_uri(-np.ones((4, 4), np.float32), 1.0) == ""
    assert map_uri(np.full((4, 4), np.nan, np.float32), 1.0) == ""
    assert map_uri(-np.ones((4, 4), np.float32), 1.0, negative=True) != ""


def test_a_map_is_bright_where_its_values_are():
    values = np.zeros((128, 128), np.float32)
    values[:64, :64] = 1.0
    found = decoded(map_uri(values, 1.0)).astype(float)
    assert found.shape == (64, 64, 4)
    assert found[4:28, 4:28, 3].min() > 200
    assert found[36:, 36:, 3].max() < 20


def test_not_a_number_counts_as_nothing():
    values = np.ones((16, 16), np.float32)
    values[:8] = np.nan
    assert decoded(map_uri(values, 1.0))[:6, :, 3].max() < 20


def test_the_ground_is_grey_and_dim():
    ground = dimmed(np.full((2, 2, 3), (255, 0, 120), np.uint8))
    assert (ground[..., 0] == ground[..., 1]).all()
    assert ground.max() < 150


@settings(max_examples=40)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)))
def test_an_outline_has_one_step_for_every_edge_between_inside_and_outside(mask):
    padded = np.pad(mask, 1).astype(int)
    edges = np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()
    steps = outline(mask).replace("v", "h").split("M")[1:]
    assert sum(int(step.split("h")[1]) for step in steps) == edges


def test_the_colour_bar_runs_from_weak_to_strong():
    light = lightness(decoded(colour_bar_uri()).astype(float)[..., :3]).mean(0)
    assert light[-8:].mean() - light[:8].mean() > 40
    cold = lightness(decoded(colour_bar_uri(negative=True)).astype(float)[..., :3]).mean(0)
    assert cold[0] > cold[-1]


def test_a_baked_picture_has_both():
    values = np.zeros((32, 32), np.float32)
    values[:, :16] = 1.0
    found = decoded(baked_uri(np.full((32, 32, 3), 120, np.uint8), values, 1.0)).astype(int)
    assert found.shape == (112, 112, 3)
    assert np.ptp(found[50, 10]) > 60  # colour where the map is
    assert np.ptp(found[50, 100]) < 12  # grey where it is not
