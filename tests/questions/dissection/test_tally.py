"""The sums are those of the plain algorithm; the numbers of the four images; which label wins."""

import numpy as np
import pytest
import torch
from PIL import Image

from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.questions.dissection.concepts import best_labels, count_detectors
from kdlens.questions.dissection.dissect import dissect_readers
from kdlens.questions.dissection.plan import Plan
from kdlens.questions.dissection.thresholds import TopValues


def slow_tally(maps, annotations, thresholds, primary, categories):
    """Network dissection written down plainly: image by image, unit by unit, with Pillow.

    Args:
        maps: image -> `(units, h, w)` float32.
        annotations: image -> (pixels `(channels, H, W)`, whole labels).
        thresholds: of the units.
        primary: category of every label, -1 for none.
        categories: how many there are.
    """
    units, labels = len(thresholds), len(primary)
    both, truth = np.zeros((units, labels), int), np.zeros(labels, int)
    paper, lite = np.zeros((units, categories), int), np.zeros((units, categories), int)
    for own, (pixels, whole) in zip(maps, annotations, strict=True):
        size = pixels.shape[1:]
        for label in range(1, labels):
            truth[label] += (pixels == label).sum() + size[0] * size[1] * (label in whole)
        present = {primary[label] for label in {*np.unique(pixels).tolist(), *whole} if label > 0}
        for unit in range(units):
            large = Image.fromarray(own[unit]).resize(size[::-1], Image.Resampling.BILINEAR)
            above = np.asarray(large).astype(np.float64) > thresholds[unit]
            touched = {primary[label] for label in whole}
            for label in range(1, labels):
                hits = sum(int((above & (channel == label)).sum()) for channel in pixels)
                both[unit, label] += hits + above.sum() * (label in whole)
                touched |= {primary[label]} if hits else set()
            paper[unit, sorted(present - {-1})] += above.sum()
            lite[unit, sorted(touched - {-1})] += above.sum()
    return both, truth, paper, lite


def as_they_are(images):
    return {"layer": images}


def dissected(data, **options):
    return dissect_readers({"net": as_they_are}, data, Plan(**options), lambda text: None)["net", "layer"]


@pytest.fixture
def at_one(monkeypatch):
    monkeypatch.setattr(TopValues, "thresholds", lambda self: torch.ones(1, dtype=torch.float64))


def test_the_four_images(four_images, at_one):
    """IoU sums over the data set first; the published code leaves out activations where the category is not hit."""
    total = dissected(four_images, min_images=0).tally.total()
    one, part, scene, colour = 1, 3, 4, 5
    assert total.labels.truth[0, [one, colour, scene, part]].tolist() == [12, 64, 32, 1]
    assert total.both[0, 0, [one, colour, scene, part]].tolist() == [4, 12, 8, 1]
    lite, paper = total.activation("netdissect-lite")[0, 0], total.activation("paper")[0, 0]
    assert lite[[one, colour, scene, part]].tolist() == [4, 12, 8, 4]
    assert paper[[one, colour, scene, part]].tolist() == [8, 12, 8, 4]
    expected = {"netdissect-lite": [1 / 3, 0.1875, 0.25, 0.25], "paper": [0.25, 0.1875, 0.25, 0.25]}
    for rule, ious in expected.items():
        np.testing.assert_allclose(total.iou(rule)[0, 0, [one, colour, scene, part]], ious, atol=1e-10)


def test_the_rules_name_different_concepts(four_images, at_one):
    by_lite = dissected(four_images, category_rule="netdissect-lite", min_images=0)
    assert by_lite.concepts() == {"one": [0]}
    assert (by_lite.counts(0.04).total, by_lite.counts(0.04).unique) == (1, 1)
    by_paper = by_lite.under("paper")
    assert by_paper.concepts() == {"s": [0]}  # one, s and p tie at 1/4: the last of the categories wins


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"small": (8, 8), "sparse": False},
        {"small": (5, 7)},
        {"small": (16, 16), "large": (8, 8)},
        {"units": 40, "n": 70},
    ],
)
def test_sums_of_the_plain_algorithm(anything, shape):
    data = anything(**shape)
    found = dissected(data, min_images=1, shuffles=0)
    annotations = [(a.pixels.numpy(), a.whole) for a in data.annotations]
    maps = [image.numpy() for image in data.images]
    primary = data.vocabulary.primary.tolist()
    both, truth, paper, lite = slow_tally(maps, annotations, found.thresholds.numpy(), primary, 3)
    total = found.tally.total()
    np.testing.assert_array_equal(total.both[0], both)
    np.testing.assert_array_equal(total.labels.truth[0], truth)
    np.testing.assert_array_equal(total.active["paper"][0], paper)
    np.testing.assert_array_equal(total.active["netdissect-lite"][0], lite)


def test_groups_add_up_and_every_image_is_in_one(anything):
    found = dissected(anything(n=45), groups=4, shuffles=0)
    assert torch.equal(found.tally.total().both[0], found.tally.both.sum(0))
    assert found.tally.labels.images.sum(0).max() <= 45


def test_a_deal_uses_every_mask_once(anything):
    found = dissected(anything(n=45), shuffles=3)
    for deal in range(3):
        assert torch.equal(found.dealt.labels.truth[deal], found.tally.labels.truth.sum(0))
        assert not torch.equal(found.dealt.both[deal], found.tally.both.sum(0))


def test_ties_go_to_the_smaller_label_and_the_later_category():
    vocabulary = Vocabulary(("a", "b"), ("", "a1", "a2", "b1"), torch.tensor([-1, 0, 0, 1]))
    best = best_labels(torch.tensor([[0.0, 0.2, 0.2, 0.1], [0.0, 0.2, 0.0, 0.2], [0.0, 0.0, 0.0, 0.0]]), vocabulary)
    assert best.label.tolist() == [1, 3, 0]
    assert best.category.tolist() == [0, 1, -1]
    found = count_detectors(best, 0.0, vocabulary)
    assert (found.total, found.unique, found.by_category) == (2, 2, {"a": 1, "b": 1})


def test_rare_labels_are_not_chosen():
    vocabulary = Vocabulary(("a",), ("", "a1", "a2"), torch.tensor([-1, 0, 0]))
    best = best_labels(torch.tensor([[0.0, 0.9, 0.2]]), vocabulary, torch.tensor([False, False, True]))
    assert (best.label.item(), best.iou.item()) == (2, pytest.approx(0.2))
