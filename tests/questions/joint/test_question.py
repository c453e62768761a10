"""The UniCAM question with joint maps: rows, checks, sentences, on small studies."""

import numpy as np
import pytest
import torch

from kdlens.questions.unicam.joint.band import above, band_of, other_labels, within
from kdlens.questions.unicam.joint.causal import SHARES, causal_curves
from kdlens.questions.unicam.joint.sanity import likeness, shuffled
from kdlens.questions.unicam.joint.study_maps import JointMaps
from kdlens.questions.unicam.joint.temperatures import Temperatures
from kdlens.questions.unicam.question import UniCAMQuestion
from kdlens.questions.unicam.view import View

QUICK = UniCAMQuestion(draws=40, gallery=6)


@pytest.fixture(scope="module")
def context(build):
    return build(seeds=2, n=160)


@pytest.fixture(scope="module")
def answer(context):
    return QUICK.answer(context)


def maps_of(context):
    view = View(context, images=128, layer="auto", features="pooled")
    return view, JointMaps(view, "gradients", Temperatures(context))


def test_every_row_is_there(answer):
    metrics = {row.metric for row in answer.rows}
    for half in ("distilled", "residual"):
        assert {f"relevance_{half}", f"share_on_object_{half}", f"deletion_{half}", f"insertion_{half}"} <= metrics
    assert {"deletion_random", "deletion_difference", "lead", "maps_in_null_band", "map_likeness_shuffled"} <= metrics
    assert all(row.layer == "" for row in answer.rows if row.metric.startswith("share_on_object"))


def test_distilled_and_residual_are_two_signs_of_one_map(answer):
    distilled, residual = (answer.arrays[f"map.{half}.kd"] for half in ("distilled", "residual"))
    assert np.allclose(distilled, -residual, atol=1e-6)
    assert (distilled > 0).any()
    assert (distilled < 0).any()


def test_the_band_comes_from_baselines_of_other_seeds(context, build):
    assert maps_of(context)[1].band.source == "baselines of different seeds"
    assert maps_of(build())[1].band.source == "labels of other images"


def test_the_curves_are_those_of_the_networks(context):
    """Deleting everything of an order in one step is what running the networks on such images gives."""
    view, maps = maps_of(context)
    trio = next(iter(context.trios()))
    curves = causal_curves(view, maps, maps.temperatures, trio)
    assert curves.deletion["distilled"].shape == (len(SHARES), len(view.reference))
    more = curves.deletion["distilled"].mean(1)
    assert more[-1] > 0
    assert curves.deletion["distilled"].mean() > curves.deletion["residual"].mean()
    assert curves.insertion["distilled"].mean() > curves.insertion["residual"].mean()


def test_the_sentence_follows_the_numbers(answer):
    difference = answer.select(metric="deletion_difference", model="kd", seed=None)[0]
    passed = [f for f in answer.findings if "pass the causal check" in f.text]
    assert bool(passed) == (difference.low > 0)
    assert answer.arrays["curve.deletion.distilled.kd"].shape == (len(SHARES), 3)


def test_a_student_that_is_the_baseline_shows_nothing(build):
    context = build(seeds=2, n=160)
    _, first, second, *students = context.subjects
    for student, baseline in zip(students, (first, second), strict=True):
        student.network.load_state_dict(baseline.network.state_dict())
    answer = QUICK.answer(context)
    rows = answer.select(metric="maps_in_null_band")
    assert [row.value for row in rows] == [row.n for row in rows]
    assert any("Nothing that kd has and baseline has not is to be seen" in f.text for f in answer.findings)
    assert np.abs(answer.arrays["map.distilled.kd"]).max() == 0


def test_shuffled_weights_are_a_copy(context):
    student = next(s for s in context.subjects if s.role == "student")
    before = {name: value.clone() for name, value in student.network.state_dict().items()}
    twin = shuffled(student, seed=0)
    for name, parameter in student.network.named_parameters():
        other = dict(twin.network.named_parameters())[name]
        assert torch.equal(parameter, before[name])
        assert torch.equal(parameter.flatten().sort().values, other.flatten().sort().values)


def test_likeness_of_maps():
    maps = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(likeness(maps, 2 * maps + 1), torch.ones(3), atol=1e-5)
    assert torch.allclose(likeness(maps, -maps), -torch.ones(3), atol=1e-5)
    assert likeness(maps, torch.ones(3, 4, 4)).isnan().all()


def test_the_band_holds_what_it_says():
    null = torch.randn(40, 8, 8, generator=torch.Generator().manual_seed(1))
    band = band_of([null], "noise")
    assert (null.abs() <= band.pixel).float().mean() == pytest.approx(0.95, abs=0.01)
    assert within(null, band).float().mean() >= 0.95  # a bound that holds for new maps, too
    kept = above(null, band)
    assert torch.equal(kept[kept != 0].abs() > band.pixel, torch.ones(int((kept != 0).sum()), dtype=torch.bool))


@pytest.mark.parametrize("labels", [torch.arange(12) % 3, torch.zeros(6, dtype=torch.int64)])
def test_null_labels_are_never_the_images_own(labels):
    assert bool((other_labels(labels, 3, seed=0) != labels).all())
    assert int(other_labels(labels, 3, seed=0).max()) < 3


def test_published_maps_are_checked_alike(build):
    answer = UniCAMQuestion(draws=20, gallery=0, protocol="published").answer(build(n=120))
    assert answer.select(metric="deletion_difference")
    assert not answer.select(metric="maps_in_null_band")
