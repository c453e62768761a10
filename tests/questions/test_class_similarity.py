import itertools
import math

import numpy as np
import pytest
import scipy.cluster.hierarchy
import scipy.spatial.distance
import scipy.stats
import sklearn.metrics
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.data.superclasses import CIFAR100_GROUPS
from kdlens.errors import ConfigError, StatisticsError
from kdlens.questions.class_similarity.categories import categories_of, source_of, two_halves
from kdlens.questions.class_similarity.clustering import average_linkage, cut, dissimilarity, groups_of, silhouette
from kdlens.questions.class_similarity.confusions import compare, rate
from kdlens.questions.class_similarity.correlation import similarity_correlation, split_half
from kdlens.questions.class_similarity.similarity import class_similarity


def drawn(seed, n=90, classes=5):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(n, classes, generator=generator), torch.arange(n) % classes


def slowly(logits, labels, temperature):
    """The definition, written out with numpy."""
    z = logits.double().numpy() / temperature
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    rows = np.stack([p[labels.numpy() == a].mean(0) for a in range(p.shape[1])])
    np.fill_diagonal(rows, 0)
    return rows / rows.sum(1, keepdims=True)


def by_rows(first, second):
    off = ~np.eye(len(first), dtype=bool)
    rows = [scipy.stats.spearmanr(a[o], b[o]).statistic for a, b, o in zip(first, second, off, strict=True)]
    return float(np.mean(rows))


def over_all(first, second):
    off = ~np.eye(len(first), dtype=bool)
    return float(scipy.stats.spearmanr(first[off], second[off]).statistic)


def test_the_matrix_is_its_definition():
    logits, labels = drawn(0)
    found = class_similarity(logits, labels, temperature=2.0)
    assert found.numpy() == pytest.approx(slowly(logits, labels, 2.0))
    assert found.sum(1).tolist() == pytest.approx([1.0] * 5)
    assert found.diagonal().tolist() == [0.0] * 5


def test_logits_give_the_order_that_a_high_temperature_tends_to():
    logits, labels = drawn(1)
    exact = class_similarity(logits, labels, of="logits").numpy()
    off = ~np.eye(5, dtype=bool)
    hot = class_similarity(logits, labels, temperature=1e6).numpy()
    assert over_all(exact, hot) > 0.9
    assert by_rows(exact, hot) == pytest.approx(1.0)
    assert exact.sum(1) == pytest.approx(0, abs=1e-12)
    assert (exact[~off] == 0).all()


def test_a_class_without_images_has_no_row():
    logits, labels = drawn(2)
    found = class_similarity(logits[labels != 3], labels[labels != 3])
    assert found[3].isnan().all()
    assert not found[:3].isnan().any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 8))
def test_order_of_classes_and_constants_do_not_matter(seed, temperature):
    logits, labels = drawn(seed)
    found = class_similarity(logits, labels, temperature=temperature)
    shifted = logits + torch.randn(len(logits), 1, generator=torch.Generator().manual_seed(seed))
    assert torch.allclose(class_similarity(shifted, labels, temperature=temperature), found, atol=1e-6)
    assert torch.allclose(class_similarity(logits / temperature, labels, temperature=1.0), found, atol=1e-6)
    at = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    moved = torch.empty_like(logits)
    moved[:, at] = logits
    again = class_similarity(moved, at[labels], temperature=temperature)
    assert torch.allclose(again[at][:, at], found)
    other = drawn(seed + 1)[0]
    other_moved = torch.empty_like(other)
    other_moved[:, at] = other
    [one] = similarity_correlation(logits, [other], labels, draws=0, permutations=1)
    [two] = similarity_correlation(moved, [other_moved], at[labels], draws=0, permutations=1)
    assert one.value == pytest.approx(two.value, abs=1e-9)


@pytest.mark.parametrize(("over", "oracle"), [("rows", by_rows), ("all", over_all)])
def test_the_correlation_is_spearmans(over, oracle):
    teacher, labels = drawn(3)
    network = teacher + drawn(4)[0]
    [found] = similarity_correlation(teacher, [network], labels, over=over, temperatures=[2.0, 3.0], draws=20)
    expected = oracle(slowly(teacher, labels, 2.0), slowly(network, labels, 3.0))
    assert found.value == pytest.approx(expected)
    assert len(found.replicates) == 20
    assert found.low <= found.value <= found.high


def test_the_mantel_test_takes_every_relabelling_once_where_they_are_few():
    teacher, labels = drawn(5, classes=4)
    network = teacher + drawn(6, classes=4)[0]
    [found] = similarity_correlation(teacher, [network], labels, draws=0)
    a, b = slowly(teacher, labels, 4.0), slowly(network, labels, 4.0)
    null = [by_rows(a[np.ix_(at, at)], b) for at in itertools.permutations(range(4))]
    assert sorted(found.null.tolist()) == pytest.approx(sorted(null))
    assert found.p == pytest.approx(np.mean(np.array(null) >= by_rows(a, b) - 1e-9))
    assert found.chance == pytest.approx(0, abs=0.05)


def test_a_network_equal_to_the_teacher_and_one_that_knows_nothing_of_it():
    teacher, labels = drawn(7, n=400, classes=8)
    noise = drawn(8, n=400, classes=8)[0]
    same, other = similarity_correlation(teacher, [teacher, noise], labels, draws=50)
    assert same.value == pytest.approx(1)
    assert same.p == pytest.approx(0.001)
    low, high = other.null.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert low < other.value < high
    assert other.p > 0.025
    assert (same.replicates - 1).abs().max() < 1e-9


def test_p_is_even_where_there_is_no_relation():
    p = []
    for seed in range(60):
        teacher, labels = drawn(1000 + seed, n=36, classes=6)
        p.append(similarity_correlation(teacher, [drawn(seed, n=36, classes=6)[0]], labels, draws=0)[0].p)
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.01


def test_matrices_without_any_order_have_no_correlation():
    teacher, labels = drawn(9)
    [found] = similarity_correlation(teacher, [torch.zeros_like(teacher)], labels, draws=5)
    assert math.isnan(found.value)
    assert math.isnan(found.p)
    assert math.isnan(found.low)


def test_one_image_a_class_has_no_interval():
    teacher, labels = drawn(10, n=5)
    [found] = similarity_correlation(teacher, [drawn(11, n=5)[0]], labels)
    assert math.isnan(found.low)
    assert len(found.replicates) == 0


def test_split_halves_of_a_steady_network_agree():
    preference = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(240) % 6
    halves = two_halves(labels, seed=0)
    steady = preference[labels] + 0.1 * drawn(0, n=240, classes=6)[0]
    assert split_half(steady, labels, halves, temperature=4.0) > 0.95
    assert abs(split_half(drawn(0, n=240, classes=6)[0], labels, halves, temperature=4.0)) < 0.6
    assert sorted(torch.cat(halves).tolist()) == list(range(240))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(4, 2)}, "need 3 or more classes, got 2"),
        ({"temperature": -1.0}, "temperature must be positive and finite, got -1.0"),
        ({"of": "votes"}, 'of must be "probabilities" or "logits", not "votes"'),
        ({"labels": torch.tensor([0, 1, 2, 9])}, "label 9 is outside the 4 classes 0..3"),
    ],
)
def test_what_has_no_similarity_is_said(change, message):
    with pytest.raises(StatisticsError, match=message):
        class_similarity(**{"logits": torch.zeros(4, 4), "labels": torch.zeros(4, dtype=torch.int64), **change})
    with pytest.raises(StatisticsError, match="needs images of at least 3 classes, got 2"):
        similarity_correlation(torch.zeros(4, 4), [torch.zeros(4, 4)], torch.tensor([0, 1, 0, 1]))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 12))
def test_average_linkage_and_silhouette_as_scipy_and_scikit_learn_have_them(seed, k):
    points = np.random.default_rng(seed).random((k, 3))
    apart = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(points))
    tree = average_linkage(torch.tensor(apart))
    linked = scipy.cluster.hierarchy.linkage(points, "average")
    assert sorted(tree.order) == list(range(k))
    for groups in range(2, k):
        mine = cut(tree, k, groups).numpy()
        theirs = scipy.cluster.hierarchy.fcluster(linked, groups, "maxclust")
        assert sklearn.metrics.adjusted_rand_score(mine, theirs) == 1
        expected = sklearn.metrics.silhouette_score(apart, mine, metric="precomputed")
        assert silhouette(torch.tensor(apart), torch.tensor(mine)) == pytest.approx(expected)


def test_planted_groups_are_found_and_stand_together():
    similarity = torch.full((9, 9), 0.02)
    for group in ([0, 4, 8], [1, 3, 5], [2, 6, 7]):
        for a in group:
            similarity[a, group] = 0.4
    similarity.fill_diagonal_(0)
    groups, order = groups_of(similarity + 0.01 * torch.rand(9, 9, generator=torch.Generator().manual_seed(0)))
    assert {frozenset((groups == g).nonzero().flatten().tolist()) for g in range(3)} == {
        frozenset(g) for g in ([0, 4, 8], [1, 3, 5], [2, 6, 7])
    }
    assert groups[order].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert dissimilarity(similarity).diagonal().tolist() == [0.0] * 9


def test_categories_that_a_person_gives():
    classes = ["Shirt", "Coat", "Bag", "Boot"]
    table = categories_of({"Shirt": "top", "Coat": "top", "Boot": "shoe"}, classes, None)
    assert table.named(classes) == {"top": ["Shirt", "Coat"], "shoe": ["Boot"]}
    assert table.number(4) == [0, 0, -1, 1]
    lists = categories_of([["Shirt", "Coat"], ["Bag", "Boot"]], classes, None)
    assert lists.members == ((0, 1), (2, 3))
    assert categories_of("all", classes, None).members == ((0, 1, 2, 3),)
    with pytest.raises(ConfigError, match='no class "Coart"; did you mean "Coat"'):
        categories_of([["Coart"]], classes, None)
    with pytest.raises(ConfigError, match='class "Bag" stands in more than one category'):
        categories_of([["Bag"], ["Bag"]], classes, None)
    with pytest.raises(ConfigError, match='"cifar100" needs the 100 classes'):
        categories_of("cifar100", classes, None)
    with pytest.raises(ConfigError, match='"teacher" needs a teacher'):
        source_of("teacher", classes, teacher=False)


def test_the_superclasses_of_cifar100_are_known_by_the_classes():
    classes = sorted(name.replace("_", " ") for group in CIFAR100_GROUPS.values() for name in group)
    found = categories_of("auto", classes, None)
    assert found.source == "cifar100"
    assert found.named(classes)["trees"] == ["maple tree", "oak tree", "palm tree", "pine tree", "willow tree"]


SIMILARITY = torch.tensor([[0.0, 0.8, 0.2], [0.5, 0.0, 0.5], [0.1, 0.9, 0.0]])


def answers(*counts):
    """Named classes of 100 images of class 0: (class, how many) one after another."""
    return torch.cat([torch.full((n,), k) for k, n in counts])


@pytest.mark.parametrize(
    ("student", "baseline", "teacher", "pair", "story"),
    [
        (((1, 30), (0, 70)), ((0, 100),), ((1, 35), (0, 65)), (0, 1), "transferred"),
        (((2, 30), (0, 70)), ((0, 100),), ((1, 35), (0, 65)), (0, 2), "own"),
        (((0, 100),), ((2, 30), (0, 70)), ((0, 100),), (0, 2), "dropped"),
        (((0, 100),), ((0, 100),), ((1, 35), (0, 65)), (0, 1), "missing"),
    ],
)
def test_the_four_stories_of_a_pair(student, baseline, teacher, pair, story):
    labels = torch.zeros(100, dtype=torch.int64)
    found = compare(answers(*student)[None], answers(*baseline)[None], answers(*teacher), labels, SIMILARITY, seed=0)
    [one] = [one for one in found if one.story == story]
    assert one.pair == pair
    assert one.p < 1e-6
    assert one.change.low <= one.change.value <= one.change.high
    assert abs(one.change.value) == pytest.approx(0.35 if story == "missing" else 0.3)


def test_among_networks_that_differ_by_chance_few_pairs_are_named():
    """The guard against many pairs: in 10 studies without any effect hardly one pair is named.

    At most one study in 20 may name a pair, whatever the number of pairs; without the guard each of more than 50 pairs
    would be named with a chance of that size, so more than 9 studies of 10. Between the two, 10 studies tell as well
    as many.
    """
    named = 0
    for seed in range(10):
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(800) % 8
        student, baseline, teacher = torch.randint(8, (3, 800), generator=generator)
        found = compare(student[None], baseline[None], teacher, labels, torch.full((8, 8), 1 / 7), seed=0)
        assert len(found) > 50
        named += any(one.story != "undecided" for one in found)
    assert named <= 2


def test_rates_have_an_interval_also_at_zero_and_over_seeds():
    labels = torch.zeros(100, dtype=torch.int64)
    none = rate(torch.zeros(1, 100, dtype=torch.int64), labels, (0, 1))
    assert none.value == none.low == 0
    assert none.high > 0.02
    several = rate(torch.stack([answers((1, 10), (0, 90)), answers((1, 30), (0, 70))]), labels, (0, 1))
    assert several.value == pytest.approx(0.2)
    assert several.high - several.low > rate(answers((1, 20), (0, 80))[None], labels, (0, 1)).high


def test_the_interval_lies_around_the_value_though_images_drawn_anew_lower_the_correlation():
    preference = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(80) % 8
    teacher, network = (preference[labels] + drawn(seed, n=80, classes=8)[0] for seed in (1, 2))
    [found] = similarity_correlation(teacher, [network], labels, draws=200)
    assert found.replicates.mean() < found.value - 0.05
    below, above = found.value - found.low, found.high - found.value
    assert 0.5 < below / above < 2
