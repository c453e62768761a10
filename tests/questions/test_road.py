"""Keeping a part of images and filling in the rest."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import ConfigError, DataError
from kdlens.questions.road import NOISE, impute, kept_pixels, published_range, road


def drawn(n=4, size=(9, 7), seed=0, channels=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, *size, generator=generator), torch.randn(n, *size, generator=generator)


def dense(image, kept):
    """The whole linear system written out, pixel by pixel."""
    channels, height, width = image.shape
    pixels = [(y, x) for y in range(height) for x in range(width)]
    matrix, right = torch.eye(len(pixels)).double(), image.double().flatten(1).T.clone()
    for i, (y, x) in enumerate(pixels):
        if kept[y, x]:
            continue
        near = [(a, b) for a, b in pixels if max(abs(a - y), abs(b - x)) == 1]
        weights = torch.tensor([1 / 6 if a == y or b == x else 1 / 12 for a, b in near]).double()
        right[i] = 0
        for (a, b), weight in zip(near, weights / weights.sum(), strict=True):
            matrix[i, a * width + b] -= weight
    return torch.linalg.solve(matrix, right).T.reshape(channels, height, width)


@pytest.mark.parametrize("size", [(9, 7), (7, 9), (1, 12), (12, 1), (2, 2), (40, 9), (20, 20)])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_what_is_filled_in_solves_the_dense_system(size, share):
    [image], [values] = drawn(1, size)
    kept = values < values.flatten().kthvalue(max(1, round(share * values.numel()))).values
    kept.flatten()[values.argmin()] = True
    assert torch.allclose(impute(image, kept), dense(image, kept), atol=1e-9, rtol=0)


def test_the_published_recipe_equals_the_published_code():
    road_of = pytest.importorskip("pytorch_grad_cam.metrics.road")
    from pytorch_grad_cam.metrics.perturbation_confidence import RemoveLeastRelevantFirst, RemoveMostRelevantFirst
    from pytorch_grad_cam.utils.image import deprocess_image

    images, maps = drawn(5, (16, 16))
    maps = maps.clamp(min=0)
    maps[0] *= torch.rand(16, 16, generator=torch.Generator().manual_seed(1)) > 0.7  # mostly zero, as after a ReLU
    maps /= maps.amax((1, 2), keepdim=True)
    compared = 0
    for keep, remove in (("important", RemoveLeastRelevantFirst), ("unimportant", RemoveMostRelevantFirst)):
        for percentile in (20, 50, 80):
            theirs = remove(percentile, road_of.NoisyLinearImputer(noise=0.0))
            ours = road(images, maps, percentile=percentile, keep=keep, noise=0.0, recipe="published")
            for image, cam, mine, kept in zip(images, maps, ours.images, ours.kept, strict=True):
                filled = theirs(image, cam)
                assert torch.equal(kept, (filled == image).all(0))
                if not kept.any():
                    continue  # their system is then singular
                compared += 1
                picture = torch.from_numpy(deprocess_image(filled.double().numpy())).double() / 255
                assert (mine - picture).abs().max() <= 1 / 255 + 1e-6
                assert (mine - picture).abs().mean() < 1e-4
    assert compared >= 20


def test_how_many_pixels_are_kept():
    _, maps = drawn(3, (10, 10))
    maps = maps.abs() + 0.1
    assert kept_pixels(maps, percentile=37).sum((1, 2)).tolist() == [37, 37, 37]
    flat = torch.ones(1, 10, 10)
    assert kept_pixels(flat, percentile=50)[0].flatten().nonzero().flatten().tolist() == list(range(50))
    assert not kept_pixels(flat, percentile=50, recipe="published").any()  # no pixel is strictly above the threshold
    mostly_zero = torch.zeros(1, 10, 10)
    mostly_zero[0, :2] = 1.0
    assert kept_pixels(mostly_zero, percentile=50).sum() == 20  # what has no evidence is not important
    assert kept_pixels(mostly_zero, percentile=50, recipe="published").sum() == 20


def test_the_positive_part_of_a_signed_map_counts():
    _, maps = drawn(3)
    for recipe in ("clean", "published"):
        assert torch.equal(
            kept_pixels(maps, percentile=80, recipe=recipe),
            kept_pixels(maps.clamp(min=0), percentile=80, recipe=recipe),
        )
    assert not (kept_pixels(maps, percentile=100) & (maps <= 0)).any()


def test_important_and_unimportant_pixels_are_the_two_halves():
    _, maps = drawn(3, (10, 10))
    maps = maps.abs().round(decimals=1) + 0.1  # with ties
    top = kept_pixels(maps, percentile=30)
    assert torch.equal(kept_pixels(maps, percentile=70, keep="unimportant"), ~top)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["clean", "published"]), st.floats(5, 95))
def test_an_image_is_changed_the_same_whatever_its_companions(seed, recipe, percentile):
    images, maps = drawn(5, seed=seed)
    whole = road(images, maps, percentile=percentile, recipe=recipe, seed=seed)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    turned = road(images[order], maps[order], percentile=percentile, recipe=recipe, seed=seed)
    alone = road(images[2:3], maps[2:3], percentile=percentile, recipe=recipe, seed=seed)
    assert torch.equal(turned.images.nan_to_num(9), whole.images[order].nan_to_num(9))
    assert torch.equal(turned.kept, whole.kept[order])
    assert torch.equal(alone.images.nan_to_num(9), whole.images[2:3].nan_to_num(9))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["important", "unimportant"]), st.floats(5, 95))
def test_kept_pixels_are_unchanged_and_the_others_lie_between_them(seed, keep, percentile):
    images, maps = drawn(3, seed=seed)
    done = road(images, maps, percentile=percentile, keep=keep, noise=0.0)
    for image, new, kept in zip(images, done.images, done.kept, strict=True):
        assert torch.equal(image[:, kept], new[:, kept])
        low, high = image[:, kept].amin(1), image[:, kept].amax(1)  # the maximum principle of a weighted mean
        assert (new >= low[:, None, None] - 1e-5).all()
        assert (new <= high[:, None, None] + 1e-5).all()


def test_the_noise_has_its_size_and_a_seed_and_is_not_shared():
    images, maps = drawn(2, (40, 40))
    still, first, again, other = (
        road(images, maps, noise=s, seed=i) for s, i in ((0, 0), (NOISE, 0), (NOISE, 0), (NOISE, 1))
    )
    noise = (first.images - still.images).double()[~first.kept[:, None].expand_as(images)]
    assert noise.std().item() == pytest.approx(NOISE, rel=0.1)
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    nearly = maps.clone()
    nearly.flatten()[maps[0].argmax()] = -1.0  # another map keeps other pixels, and brings noise of its own
    moved = road(images, nearly).images[0] - road(images, nearly, noise=0).images[0]
    removed = ~first.kept[0] & ~kept_pixels(nearly, percentile=50)[0]
    before = (first.images - still.images)[0]
    assert abs(np.corrcoef(moved[:, removed].flatten(), before[:, removed].flatten())[0, 1]) < 0.2


def test_an_empty_map_is_flagged_and_never_passes_for_an_image():
    images, maps = drawn(3)
    maps[1] = -1.0
    clean, published = road(images, maps), road(images, maps, recipe="published")
    assert clean.empty.tolist() == published.empty.tolist() == [False, True, False]
    assert clean.images[1].isnan().all()
    assert clean.images[[0, 2]].isfinite().all()
    assert published.images.isfinite().all()
    assert road(images, maps.abs(), percentile=0).empty.all()


def test_the_published_range_loses_contrast():
    images, _ = drawn(3, (20, 20))
    done = published_range(images)
    assert torch.allclose(done, published_range(7 * images + 3), atol=1.01 / 255)
    assert done.mean((1, 2, 3)).tolist() == pytest.approx([0.5] * 3, abs=0.005)
    assert done.std((1, 2, 3)).tolist() == pytest.approx([0.1] * 3, abs=0.005)


def test_no_global_random_state_and_kind_of_images_kept():
    images, maps = drawn(2)
    before = torch.get_rng_state()
    assert road(images.half(), maps).images.dtype == torch.float16
    assert road(images[:0], maps[:0]).images.shape == (0, 3, 9, 7)
    assert road(images[:0], maps[:0], recipe="published").empty.shape == (0,)
    assert torch.equal(torch.get_rng_state(), before)


def test_bad_input_is_refused_with_a_reason():
    images, maps = drawn(2)
    with pytest.raises(DataError, match=r"one map for every image, at its size, \(2, 9, 7\); got \(2, 3, 3\)"):
        road(images, maps[:, :3, :3])
    with pytest.raises(DataError, match="got \\(1, 9, 7\\)"):
        road(images, maps[:1])
    with pytest.raises(DataError, match="must be floats"):
        road(images.int(), maps)
    with pytest.raises(DataError, match="must be floats"):
        road(images[0], maps)
    with pytest.raises(DataError, match="maps have values that are NaN"):
        road(images, maps * math.nan)
    with pytest.raises(DataError, match="images have values that are NaN"):
        road(images * math.inf, maps)
    for percentile in (-1, 101, math.nan):
        with pytest.raises(ConfigError, match="from 0 to 100"):
            road(images, maps, percentile=percentile)
    with pytest.raises(ConfigError, match='"important" or "unimportant"'):
        road(images, maps, keep="all")
    with pytest.raises(ConfigError, match='"clean" or "published"'):
        road(images, maps, recipe="other")
    for noise in (-0.1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="noise"):
            road(images, maps, noise=noise)
