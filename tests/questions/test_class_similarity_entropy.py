import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import StatisticsError
from kdlens.questions.class_similarity.entropy import within_category_entropy
from kdlens.questions.class_similarity.temperatures import matched_temperature, mean_confidence

Z = torch.tensor([[2.0, 0.0, -1.0]])
FIRST = torch.tensor([0])


def drawn(seed, n=60, classes=6):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, classes, generator=generator), torch.randint(classes, (n,), generator=generator)


def slowly(logits, labels, groups, temperature=1.0):
    """The definition, written out: mean over images of a category, then over categories."""
    means = []
    for group in groups:
        entropies = []
        for z, label in zip(logits.double().tolist(), labels.tolist(), strict=True):
            if label in group:
                e = [math.exp(z[k] / temperature) for k in group]
                entropies.append(-sum(x / sum(e) * math.log(x / sum(e)) for x in e))
        if entropies:
            means.append(sum(entropies) / len(entropies))
    return sum(means) / len(means)


def test_the_known_entropies():
    assert within_category_entropy(Z, FIRST, [[0, 1, 2]]).value == pytest.approx(0.524267, abs=1e-6)
    assert within_category_entropy(Z, FIRST, [[0, 1], [2]]).value == pytest.approx(0.365334, abs=1e-6)


def test_the_variants_on_one_image():
    p = Z[0].double().softmax(0)
    plain = within_category_entropy(Z, FIRST, [[0, 1, 2]])
    assert (plain.chance, plain.n, plain.unit) == (pytest.approx(math.log(3)), 1, "nats")
    assert math.isnan(plain.low)  # of one image, nothing is known of how it would vary
    raw = within_category_entropy(Z, FIRST, [[0, 1], [2]], renormalise=False)
    assert raw.value == pytest.approx(-sum(q * math.log(q) for q in p[:2].tolist()))
    without = within_category_entropy(Z, FIRST, [[0, 1, 2]], include_target=False)
    rest = (p[1:] / p[1:].sum()).tolist()
    assert without.value == pytest.approx(-sum(q * math.log(q) for q in rest))
    assert without.chance == pytest.approx(math.log(2))
    bits = within_category_entropy(Z, FIRST, [[0, 1, 2]], base="bits")
    assert bits.value == pytest.approx(0.524267 / math.log(2), abs=1e-5)
    assert bits.chance == pytest.approx(math.log2(3))
    warm = within_category_entropy(Z, FIRST, [[0, 1, 2]], temperature=4.0)
    assert warm.value == pytest.approx(within_category_entropy(Z / 4, FIRST, [[0, 1, 2]]).value)


def test_the_mean_over_images_of_a_category_then_over_categories():
    logits, labels = drawn(0)
    groups = [[0, 3], [1, 2, 4], [5]]
    found = within_category_entropy(logits, labels, groups, temperature=2.0)
    assert found.value == pytest.approx(slowly(logits, labels, groups[:2], 2.0))
    assert found.chance == pytest.approx((math.log(2) + math.log(3)) / 2)
    assert found.n == int((labels != 5).sum())
    assert found.low < found.value < found.high
    assert math.isnan(found.by_category[2])
    numbers = torch.tensor([0, 1, 1, 0, 1, -1])
    assert within_category_entropy(logits, labels, numbers, temperature=2.0).value == pytest.approx(found.value)


def test_the_mean_distribution_of_a_class():
    logits = torch.tensor([[5.0, 0.0, -9.0], [0.0, 5.0, -9.0]])
    labels = torch.tensor([0, 0])
    one = within_category_entropy(logits, labels, [[0, 1]], of="mean")
    assert one.value == pytest.approx(math.log(2))  # the mean of two opposite answers is even
    assert within_category_entropy(logits, labels, [[0, 1]]).value < 0.1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from(["samples", "mean"]))
def test_bounds_order_of_classes_and_constants(seed, include_target, of):
    logits, labels = drawn(seed)
    groups = [[0, 1, 2], [3, 4, 5]]
    variant = {"include_target": include_target, "of": of, "draws": 2}
    found = within_category_entropy(logits, labels, groups, **variant)
    assert 0 <= found.value <= found.chance + 1e-9
    shifted = logits + torch.randn(len(logits), 1, generator=torch.Generator().manual_seed(seed))
    assert within_category_entropy(shifted, labels, groups, **variant).value == pytest.approx(found.value, abs=1e-5)
    at = torch.randperm(6, generator=torch.Generator().manual_seed(seed))  # new number of each class
    moved = torch.empty_like(logits)
    moved[:, at] = logits
    renamed = [[int(at[k]) for k in group] for group in groups]
    assert within_category_entropy(moved, at[labels], renamed, **variant).value == pytest.approx(found.value)
    mean = within_category_entropy(logits, labels, groups, include_target=include_target, of="mean", draws=2)
    samples = within_category_entropy(logits, labels, groups, include_target=include_target, draws=2)
    assert mean.value >= samples.value - 1e-12  # entropy is concave


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.3, 3), st.floats(1.2, 4))
def test_a_higher_temperature_gives_a_higher_entropy_up_to_an_even_share(seed, temperature, factor):
    logits, labels = drawn(seed)
    groups = [[0, 1, 2, 3, 4, 5]]
    cold = within_category_entropy(logits, labels, groups, temperature=temperature, draws=2)
    warm = within_category_entropy(logits, labels, groups, temperature=temperature * factor, draws=2)
    assert cold.value < warm.value
    hot = within_category_entropy(logits, labels, groups, temperature=1e6, draws=2)
    assert hot.value == pytest.approx(hot.chance)


def test_the_interval_narrows_with_images_and_repeats_with_its_seed():
    logits, labels = drawn(1, n=400)
    many = within_category_entropy(logits, labels, [[0, 1, 2], [3, 4, 5]])
    few = within_category_entropy(logits[:50], labels[:50], [[0, 1, 2], [3, 4, 5]])
    assert many.high - many.low < 0.6 * (few.high - few.low)
    again = within_category_entropy(logits, labels, [[0, 1, 2], [3, 4, 5]])
    assert (again.low, again.high) == (many.low, many.high)


def test_equal_confidence_is_reached():
    logits, _ = drawn(2)
    sharper = 3.0 * logits
    assert matched_temperature(sharper, mean_confidence(logits)) == pytest.approx(3.0)
    assert math.isnan(matched_temperature(torch.zeros(4, 3), 0.9))  # a network without any preference has none


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": "median"}, 'of must be "samples" or "mean", not "median"'),
        ({"base": "digits"}, 'base must be "nats" or "bits", not "digits"'),
        ({"temperature": 0.0}, "temperature must be positive and finite, got 0.0"),
        ({"groups": [[0], [1], [2]]}, "no image is of a category with 2 or more classes"),
        ({"groups": [[0, 1], [1, 2]]}, "each class may stand in one category only, as a number from 0 to 2"),
        ({"groups": [[0, 7]]}, "each class may stand in one category only, as a number from 0 to 2"),
        ({"groups": torch.tensor([0, 1])}, "need one category number for each of 3 classes"),
        ({"groups": [[0, 1]], "include_target": False}, "no image is of a category with 3 or more classes"),
        ({"logits": torch.tensor([[2.0, float("nan"), 0.0]])}, "1 of 1 images have NaN or infinite logits"),
        ({"labels": torch.tensor([3])}, "label 3 is outside the 3 classes 0..2"),
        ({"labels": torch.tensor([0, 1])}, r"need logits \(n, classes\) and labels \(n,\)"),
    ],
)
def test_what_cannot_be_measured_is_said(change, message):
    given = {"logits": Z, "labels": FIRST, "groups": [[0, 1, 2]], **change}
    with pytest.raises(StatisticsError, match=message):
        within_category_entropy(**given)
