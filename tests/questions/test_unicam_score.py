"""The statistic and its gradient: against autograd, and alone against a reference against the plain batch."""

import pytest
import torch

from kdlens.errors import DataError, StatisticsError
from kdlens.questions.unicam.score import (
    ALL_APART,
    CONSTANT,
    NOTHING_UNIQUE,
    ONE_CLASS,
    Sample,
    Space,
    label_vectors,
    score_against,
    score_batch,
)
from kdlens.stats.distance import semipartial_distance_correlation
from kdlens.stats.pairs import weighted_differences


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sample(n, seed=0, classes=3, given=True):
    labels = torch.eye(classes, dtype=torch.float64)[torch.arange(n) % classes]
    features = random(n, 6, seed=seed) + 0.5 * labels @ random(classes, 6, seed=77)
    other = random(n, 4, seed=seed + 1) + features[:, :4]
    return Sample(Space(features), Space(other) if given else None, Space(labels))


def pick(whole, index):
    return Sample(*(space and Space(space.vectors[index]) for space in whole))


def gradient(score, features, compared):
    return weighted_differences(score.weights[None], features.vectors[None], compared.vectors[None])[0]


@pytest.mark.parametrize("n", [4, 5, 16])
def test_gradient_equals_autograd(n):
    whole = sample(n)
    features = whole.features.vectors.clone().requires_grad_()
    value = semipartial_distance_correlation(features, whole.labels.vectors, whole.given.vectors)
    expected = torch.autograd.grad(value, features)[0]
    score = score_batch(whole)
    assert score.relevance == pytest.approx(value.item(), abs=1e-12)
    assert torch.allclose(gradient(score, whole.features, whole.features), expected, atol=1e-12)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("m", [4, 9, 40])
def test_alone_against_a_reference_is_the_batch_of_reference_and_image(m, given):
    images, reference = sample(7, seed=5, given=given), sample(m, seed=9, given=given)
    score = score_against(images, reference)
    found = gradient(score, images.features, reference.features)
    for i in range(7):
        one = Sample(
            *(a and Space(torch.cat([b.vectors, a.vectors[i : i + 1]])) for a, b in zip(images, reference, strict=True))
        )
        whole = score_batch(one)
        expected = gradient(whole, one.features, one.features)[-1]
        assert torch.allclose(found[i], expected, rtol=1e-8, atol=1e-12)


def test_an_image_of_the_reference_itself():
    reference = sample(12)
    images = pick(reference, slice(3))
    score = score_against(images, reference)
    assert bool(score.weights.isfinite().all())
    assert score.weights[1, 1] == 0


def test_alone_or_in_company():
    images, reference = sample(64, seed=5), sample(30, seed=9)
    together = score_against(images, reference).weights
    alone = score_against(pick(images, slice(17, 18)), reference).weights
    assert torch.allclose(together[17], alone[0], rtol=1e-9, atol=0)


def test_relevance_is_that_of_the_reference():
    images, reference = sample(5, seed=5), sample(30, seed=9)
    score, whole = score_against(images, reference), score_batch(reference)
    assert (score.relevance, score.unique_fraction) == (whole.relevance, whole.unique_fraction)


def test_nothing_given_is_everything_unique():
    score = score_batch(sample(10, given=False))
    assert score.unique_fraction == 1.0


def test_swapping_changes_the_result():
    whole = sample(16)
    assert score_batch(whole).relevance != pytest.approx(
        score_batch(Sample(whole.given, whole.features, whole.labels)).relevance, abs=1e-3
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_identical_features_are_never_a_signal(dtype, noise):
    """Also where the two differ in the last place only, as from another order of summation."""
    whole = sample(16)
    features = (10 * whole.features.vectors).to(dtype)
    rounding = noise * torch.finfo(dtype).eps * features * random(*features.shape, seed=3).sign()
    score = score_batch(Sample(Space(features), Space(features + rounding.to(dtype)), whole.labels))
    assert score.reason == NOTHING_UNIQUE
    assert score.unique_fraction == 0
    assert score.weights.abs().max() == 0


def test_one_class_is_never_a_signal():
    whole = sample(16)
    for labels in (torch.ones(16, 3), torch.full((16, 5), 0.1)):
        score = score_batch(Sample(whole.features, whole.given, Space(labels)))
        assert score.reason == ONE_CLASS
        assert score.weights.abs().max() == 0
        assert torch.tensor(score.relevance).isnan()


def test_labels_that_are_all_different_are_not_called_the_same():
    whole = sample(16)
    assert score_batch(Sample(whole.features, whole.given, Space(torch.eye(16)))).reason == ALL_APART


@pytest.mark.parametrize("spread", [0.0, 1e-7])
def test_constant_features_are_never_a_signal(spread):
    whole = sample(16)
    constant = Space((3 + spread * whole.features.vectors).float())
    assert score_batch(Sample(constant, whole.given, whole.labels)).reason == CONSTANT
    left = score_batch(Sample(whole.features, Space(torch.ones(16, 2)), whole.labels))
    assert left.unique_fraction == pytest.approx(1)  # constant given features take nothing away


def test_a_degenerate_reference_silences_every_image():
    reference = sample(16)._replace(labels=Space(torch.ones(16, 3)))
    score = score_against(sample(5, seed=2), reference)
    assert score.reason == ONE_CLASS
    assert score.weights.shape == (5, 16)
    assert score.weights.abs().max() == 0


def test_too_few():
    with pytest.raises(StatisticsError, match="at least 4 images, got 3"):
        score_batch(sample(3))
    with pytest.raises(StatisticsError, match="at least 4 images, got 3"):
        score_against(sample(5), sample(3))


def test_labels_become_vectors():
    images, reference = label_vectors(torch.tensor([9, 4]), torch.tensor([4, 4, 0]))
    assert torch.equal(images[1], reference[0])
    assert not torch.equal(images[0], reference[2])
    embeddings = random(3, 5)
    assert label_vectors(embeddings)[0] is embeddings


def test_labels_of_a_wrong_kind_are_named():
    with pytest.raises(
        DataError, match=r"class indices \(n,\) of whole numbers or embeddings \(n, e\), got torch.float32"
    ):
        label_vectors(torch.tensor([0.0, 1.0]))
    with pytest.raises(DataError, match="same kind"):
        label_vectors(torch.tensor([0, 1]), random(4, 3))
    with pytest.raises(DataError, match="same kind and width"):
        label_vectors(random(4, 2), random(4, 3))
