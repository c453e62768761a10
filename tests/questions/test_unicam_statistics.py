"""Relevance and unique fraction: coverage of the interval, the null, and what is undefined."""

import math

import pytest
import torch

from kdlens.questions.unicam import statistics as unicam_statistics
from kdlens.questions.unicam.statistics import unique_knowledge
from kdlens.stats.distance import semipartial_distance_correlation


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def world(n, seed=0, strength=1.0):
    """A network that knows shared and own cues about the label; another that knows shared ones."""
    labels = torch.eye(3, dtype=torch.float64)[torch.arange(n) % 3]
    shared = labels @ random(3, 4, seed=50) + random(n, 4, seed=seed)
    own = strength * labels @ random(3, 4, seed=51) + random(n, 4, seed=seed + 1)
    return torch.cat([shared, own], 1), shared + 0.1 * random(n, 4, seed=seed + 2), labels


def test_value_is_the_statistic():
    features, given, labels = world(40)
    found = unique_knowledge(features, given, labels, seed=0, draws=50)
    assert found.relevance.value == pytest.approx(semipartial_distance_correlation(features, labels, given).item())
    assert found.relevance.n == 40
    assert found.reason == ""


def test_interval_covers_the_value_of_many_images():
    truth = unique_knowledge(*world(1500, seed=9), seed=0, draws=1)
    covered = 0
    for seed in range(60):
        found = unique_knowledge(*world(64, seed=100 + 3 * seed), seed=seed, draws=200)
        covered += found.relevance.low <= truth.relevance.value <= found.relevance.high
    assert covered >= 50


def test_a_signal_is_found_and_noise_is_not():
    assert unique_knowledge(*world(60), seed=0, draws=200).p < 0.01
    p = torch.tensor(
        [unique_knowledge(random(30, 4, seed=s), random(30, 4, seed=s + 1), world(30)[2], seed=s, draws=99).p
         for s in range(0, 300, 2)]
    )  # fmt: skip
    assert 0.0 <= (p <= 0.1).double().mean().item() <= 0.17
    assert p.min() > 0
    assert 0.35 < p.median() < 0.65


def test_the_null_is_shared_by_networks_on_the_same_images():
    features, given, labels = world(30)
    first = unique_knowledge(features, given, labels, seed=4, draws=40)
    second = unique_knowledge(3 * features + 1, given, labels, seed=4, draws=40)
    assert torch.allclose(first.null, second.null, atol=1e-8)
    assert first.chance == pytest.approx(0, abs=0.05)


def test_memory_blocks_do_not_change_the_result(monkeypatch):
    data = world(24)
    whole = unique_knowledge(*data, seed=0, draws=33)
    monkeypatch.setattr(unicam_statistics, "_ENTRIES", 1500)
    parts = unique_knowledge(*data, seed=0, draws=33)
    assert (parts.p, parts.relevance.n) == (whole.p, whole.relevance.n)
    assert parts.relevance.low == pytest.approx(whole.relevance.low)


def test_nothing_given():
    features, _, labels = world(30)
    found = unique_knowledge(features, None, labels, seed=0, draws=50)
    assert found.unique_fraction.value == 1
    assert found.p < 0.05


def test_undefined_is_said_and_not_computed():
    features, given, labels = world(30)
    same = unique_knowledge(features, features, labels, seed=0, draws=20)
    assert "nothing is unique" in same.reason
    assert math.isnan(same.relevance.value)
    assert math.isnan(same.p)
    assert same.unique_fraction.value == 0
    one_class = unique_knowledge(features, given, torch.ones(30, 2), seed=0, draws=20)
    assert one_class.reason == "all images have the same label"


def test_too_few_images_have_no_interval():
    found = unique_knowledge(*world(6), seed=0, draws=20)
    assert math.isnan(found.relevance.low)
    assert 0 < found.p <= 1
