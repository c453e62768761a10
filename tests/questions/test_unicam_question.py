"""The UniCAM question on a small study: rows, arrays, sentences; and what it says when there is nothing to see."""

import copy
import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from kdlens.answer import Answer
from kdlens.errors import ConfigError, LayerNotFoundError, UnknownNameError
from kdlens.questions import QUESTIONS
from kdlens.questions.context import reference_size
from kdlens.questions.pairing import foreign_pairs
from kdlens.questions.unicam.cam import energy_share
from kdlens.questions.unicam.gallery import choose
from kdlens.questions.unicam.joint.causal import ORDERS
from kdlens.questions.unicam.question import UniCAMQuestion
from kdlens.questions.unicam.rows import join
from kdlens.questions.unicam.unicam import unicam as unicam_of_any_protocol
from kdlens.questions.unicam.view import at_most
from kdlens.stats.distance import semipartial_distance_correlation
from kdlens.stats.resampling import Interval

unicam = functools.partial(unicam_of_any_protocol, protocol="published")

QUICK = UniCAMQuestion(draws=60, gallery=10, protocol="published")


def judgements(answer):
    """What is said of each student as a whole."""
    return [f for f in answer.findings if "geometry is its own" in f.text or "has nothing that" in f.text]


@pytest.fixture(scope="module")
def context(build):
    return build()


@pytest.fixture(scope="module")
def answer(context):
    return QUICK.answer(context)


@pytest.fixture(scope="module")
def many(build):
    return QUICK.answer(build(seeds=3, students=("kd", "harmful"), n=160))


def by_role(context):
    return {subject.role: subject for subject in context.subjects}


def test_registered():
    assert QUESTIONS["unicam"] is UniCAMQuestion
    assert UniCAMQuestion.name == "unicam"
    assert UniCAMQuestion().gallery == 24


def test_rows_by_layer(answer, context):
    reference = context.draw(reference_size(4), "reference")
    network = by_role(context)
    labels = torch.eye(4)[context.labels[reference]]
    seen = [context.activations(network[role], reference, ["layer2"])["layer2"] for role in ("student", "baseline")]
    student, baseline = (a.mean((2, 3)) for a in seen)
    for seed in (0, None):
        value = answer.value("relevance_distilled", model="kd", layer="layer2", seed=seed)
        assert value == pytest.approx(semipartial_distance_correlation(student, labels, baseline).item(), abs=1e-6)
        value = answer.value("relevance_residual", model="kd", layer="layer2", seed=seed)
        assert value == pytest.approx(semipartial_distance_correlation(baseline, labels, student).item(), abs=1e-6)
    for metric in ("relevance_distilled", "relevance_residual"):
        rows = answer.select(metric=metric, seed=None)
        assert [row.layer for row in rows] == ["layer1", "layer2", "layer3"]
        assert all(row.low <= row.high and 0 < row.p <= 1 and row.n == len(reference) for row in rows)
        assert all(abs(row.chance) < 0.05 and row.compared_with == "baseline" for row in rows)
    for row in answer.select(metric="unique_fraction_distilled"):
        assert 0 <= row.low <= row.value <= row.high <= 1


def test_share_on_object(answer, context):
    reference = context.draw(reference_size(4), "reference")
    batch, network = context.batch(reference), by_role(context)
    for metric, model, given, name in (
        ("distilled", "student", "baseline", "kd"),
        ("residual", "baseline", "student", "kd"),
        ("teacher", "teacher", None, "teacher"),
        ("baseline", "baseline", None, "baseline"),
        ("student", "student", None, "kd"),
    ):
        result = unicam(
            network[model].network, given and network[given].network, batch.images, batch.labels, layer="layer3"
        )
        share = energy_share(result.raw, batch.masks)
        row = answer.select(metric=f"share_on_object_{metric}", seed=None)[0]
        assert (row.model, row.layer) == (name, "layer3")
        assert row.value == pytest.approx(share.nanmean().item(), abs=1e-4)
        assert row.n == int(share.isfinite().sum())
        assert row.chance == pytest.approx(36 / 256)
        assert row.low < row.value < row.high
    gain = answer.select(metric="share_on_object_gain", seed=None)[0]
    assert gain.n <= min(answer.select(metric=f"share_on_object_{r}", seed=None)[0].n for r in ("student", "baseline"))
    empty = answer.select(metric="degenerate_maps")[0]
    assert empty.n == len(reference)
    assert empty.unit == "images"


def test_gallery(answer, context):
    arrays, network = answer.arrays, by_role(context)
    names = {"index", "label", "image", "mask", "scale", "map.teacher", "map.baseline", "gain.kd"}
    names |= {"map.student.kd", "map.distilled.kd", "map.residual.kd", "curve.shares"}
    names |= {f"curve.{way}.{order}.kd" for way in ("deletion", "insertion") for order in ORDERS}
    assert set(arrays) == names | {f"correct.{name}" for name in ("teacher", "baseline", "kd")}
    index = torch.from_numpy(arrays["index"])
    reference = context.draw(reference_size(4), "reference")
    assert len(index) == 10
    assert len(set(index.tolist())) == 10
    assert not set(index.tolist()) & set(reference.tolist())
    assert arrays["image"].dtype == np.uint8
    assert arrays["image"].shape == (10, 16, 16, 3)
    assert np.array_equal(arrays["mask"], context.masks[index].numpy().astype(np.uint8))
    assert np.array_equal(arrays["label"], context.labels[index].numpy())
    images, labels = context.images[index], context.labels[index]
    compared = (context.images[reference], context.labels[reference])
    for name, (model, given) in {
        "map.teacher": ("teacher", None),
        "map.distilled.kd": ("student", "baseline"),
        "map.residual.kd": ("baseline", "student"),
    }.items():
        expected = unicam(
            network[model].network, given and network[given].network, images, labels, layer="layer3", reference=compared
        )
        assert arrays[name].dtype == np.float32
        assert np.allclose(arrays[name], expected.raw.numpy(), atol=1e-6)
    positive = np.concatenate([a[a > 0] for name, a in arrays.items() if name.startswith("map.")])
    assert arrays["scale"].shape == ()
    assert arrays["scale"] == pytest.approx(np.quantile(positive, 0.995), rel=0.05)
    right = context.logits(network["student"])[index].argmax(1) == labels
    assert np.array_equal(arrays["correct.kd"], right.numpy().astype(np.uint8))


def test_gallery_shows_the_greatest_gains_and_losses(answer, context):
    network = by_role(context)
    true = [
        context.logits(network[role]).softmax(1).gather(1, context.labels[:, None])[:, 0]
        for role in ("student", "baseline")
    ]
    gain = true[0] - true[1]
    allowed = torch.ones(len(gain), dtype=torch.bool)
    allowed[context.draw(reference_size(4), "reference")] = False
    shown = answer.arrays["gain.kd"]
    assert np.allclose(shown, gain[torch.from_numpy(answer.arrays["index"])].numpy())
    assert list(shown) == sorted(shown, reverse=True)
    assert shown[0] == pytest.approx(gain[allowed].max().item())
    assert shown[-1] == pytest.approx(gain[allowed].min().item())
    assert np.abs(shown).min() == pytest.approx(gain[allowed].abs().min().item())


def test_every_network_reads_the_comparison_set_once(build):
    context = build()
    replace(QUICK, checks=False).answer(context)
    assert context.passes == 2 * 3  # teacher, baseline, student: the comparison set, and the gallery


def test_findings(answer):
    [judgement] = judgements(answer)
    assert "kd" in judgement.text
    assert "R* = " in judgement.text
    text = " ".join(f.text for f in answer.findings)
    assert "kd looks at the object" in text
    assert "distilled features of kd" in text
    for finding in answer.findings:
        assert finding.kind == "alert" or finding.rows
        assert finding.text.endswith(".")
        assert "nan" not in finding.text


def test_saved_and_loaded(answer, tmp_path):
    answer.save(tmp_path)
    again = Answer.load(tmp_path)
    assert again.findings == answer.findings
    for name, array in answer.arrays.items():
        assert np.array_equal(again.arrays[name].reshape(array.shape), array), name


def test_repeatable(answer, context):
    again = QUICK.answer(context)
    assert again.table.equals(answer.table)
    assert again.findings == answer.findings


def test_seeds_and_students(many):
    for model in ("kd", "harmful"):
        for metric in ("relevance_distilled", "unique_fraction_residual", "share_on_object_distilled"):
            rows = many.select(metric=metric, model=model, layer="layer3")
            assert [row.seed for row in rows] == [0, 1, 2, None]
            assert rows[-1].value == pytest.approx(sum(row.value for row in rows[:3]) / 3)
            assert rows[-1].low < min(row.value for row in rows)
        assert many.arrays[f"map.distilled.{model}"].shape == (10, 16, 16)
    baseline = many.select(metric="share_on_object_baseline")
    assert [row.seed for row in baseline] == [0, 1, 2, None]
    assert len(judgements(many)) == 2


def test_identical_student(build):
    context = build()
    baseline = by_role(context)["baseline"]
    context.subjects = tuple(
        replace(s, network=copy.deepcopy(baseline.network)) if s.role == "student" else s for s in context.subjects
    )
    answer = QUICK.answer(context)
    assert math.isnan(answer.value("relevance_distilled", layer="layer3", seed=None))
    assert answer.value("unique_fraction_distilled", layer="layer3", seed=None) == 0
    verdict = judgements(answer)[0]
    assert verdict.text == "kd has nothing that baseline has not: their features are the same up to rounding."
    alerts = " ".join(f.text for f in answer.findings if f.kind == "alert")
    assert alerts.count("kd, distilled and residual: relevance is undefined, since nothing is unique") == 1
    assert "Zero everywhere: 128 of 128 distilled maps and 128 of 128 residual maps of kd." in alerts
    assert np.abs(answer.arrays["map.distilled.kd"]).max() == 0
    assert answer.arrays["map.teacher"].max() > 0


def test_labels_that_mean_nothing(build):
    """An effect that is not there is not reported."""
    context = build()
    order = torch.randperm(len(context.labels), generator=torch.Generator().manual_seed(0))
    context._labels = context.labels[order]
    verdict = judgements(QUICK.answer(context))[0]
    assert verdict.text.startswith(
        "At no layer is what kd has beyond baseline about the labels beyond chance (largest R*"
    )
    assert verdict.tone == "neutral"


def test_two_classes(build):
    answer = QUICK.answer(build(classes=2))
    assert any("every label embedding gives the same" in f.text for f in answer.findings if f.kind == "alert")


def test_no_masks(build):
    answer = QUICK.answer(build(masks=False))
    assert not [row for row in answer.rows if row.metric.startswith("share_on_object")]
    assert "mask" not in answer.arrays
    assert answer.select(metric="degenerate_maps")


def test_few_images(build):
    answer = QUICK.answer(build(n=12))
    assert any("has only 12 images" in f.text for f in answer.findings if f.kind == "alert")
    assert len(answer.arrays["index"]) == 10  # none is left outside the comparison set, so it is shown
    answer = QUICK.answer(build(n=3, classes=2))
    assert answer.rows == []
    assert [f.text for f in answer.findings] == [
        "UniCAM compares at least 4 images, but the data has 3; nothing was computed."
    ]


def test_a_network_that_gives_nan_costs_only_its_own_numbers(build):
    context = build(students=("kd", "broken"))
    broken = next(s for s in context.subjects if s.name == "broken").network
    broken.layer2[0].weight.fill_(torch.nan)
    answer = QUICK.answer(context)
    assert any(f.text.startswith("broken could not be compared: features contain NaN") for f in answer.findings)
    assert answer.select(metric="relevance_distilled", model="kd")
    assert not answer.select(model="broken")
    assert "map.distilled.kd" in answer.arrays
    assert not any("broken" in name for name in answer.arrays)


def test_no_teacher(build):
    context = build()
    context.subjects = tuple(s for s in context.subjects if s.role != "teacher")
    answer = QUICK.answer(context)
    assert "map.teacher" not in answer.arrays
    assert answer.select(metric="share_on_object_distilled")


def test_options_are_checked(build):
    for options in ({"features": "mean"}, {"gallery": -1}, {"images": 3}, {"attribution": "lime"}):
        with pytest.raises(ConfigError):
            UniCAMQuestion(**options)
    with pytest.raises(UnknownNameError, match='unknown protocol "jiont"'):
        UniCAMQuestion(protocol="jiont")
    with pytest.raises(
        LayerNotFoundError, match=r'layer "layer9" not found in (kd|baseline) \(Sequential\); did you mean'
    ):
        UniCAMQuestion(layer="layer9").answer(build())
    options = {"layer": "layer2", "gallery": 0, "draws": 10, "features": "flat", "checks": False}
    answer = UniCAMQuestion(**options, protocol="published").answer(build())
    assert answer.arrays == {}
    assert answer.select(metric="share_on_object_distilled")[0].layer == "layer2"
    assert answer.notes.options["features"] == "flat"


def test_choose():
    gains = {"a": torch.linspace(-1, 1, 21), "b": torch.linspace(1, -1, 21)}
    chosen = choose(gains, 10, avoid=torch.tensor([0]))
    assert {20, 19, 1} <= set(chosen.tolist())
    assert 0 not in chosen.tolist()
    assert 10 in chosen.tolist()
    assert len(choose(gains, 100, avoid=torch.tensor([0]))) == 21
    assert len(choose(gains, 0, avoid=torch.tensor([0]))) == 0


def test_join_keeps_to_what_is_possible():
    joined = join([Interval(0.2, 0.1, 0.3, 50), Interval(0.8, 0.7, 0.9, 50)], least=0)
    assert (joined.value, joined.low, joined.high) == (0.5, 0.0, 1.0)
    unknown = join([Interval(math.nan, math.nan, math.nan, 9)] * 2, least=-1)
    assert math.isnan(unknown.low)


def test_at_most_keeps_classes_whole():
    labels = torch.arange(10).repeat_interleave(8)
    kept = at_most(40, labels)
    assert labels[kept].bincount(minlength=10).tolist() == [8, 0] * 5
    assert len(at_most(80, labels)) == 80


def test_layers_of_other_names_are_told(context):
    student, baseline, teacher = (by_role(context)[role] for role in ("student", "baseline", "teacher"))
    other = copy.copy(context)
    other.subjects = (teacher, replace(baseline, layers=("layer1", "layer3")), student)
    assert "layers of kd / baseline" not in QUICK.answer(context).notes.options
    told = QUICK.answer(other).notes.options["layers of kd / baseline"]
    assert told == "layer1 / layer1, layer2 / layer3, layer3 / layer3"
    assert list(foreign_pairs(other, teacher=True)) == ["layers of kd / baseline"]  # the others meet by name


def test_directions_are_compared_half_by_half(many):
    """The interval of the difference is that of paired draws, not the sum of two intervals."""
    for row in many.select(metric="relevance_difference", model="kd"):
        distilled, residual = (
            many.select(metric=f"relevance_{d}", model="kd", layer=row.layer, seed=None)[0]
            for d in ("distilled", "residual")
        )
        assert row.value == pytest.approx(distilled.value - residual.value, abs=1e-9)
        assert row.low < row.value < row.high


def test_the_layer_is_chosen_on_halves_of_the_images(many):
    rows = many.select(metric="layer_chosen", model="kd")
    assert [row.layer for row in rows] == ["layer1", "layer2", "layer3"]
    assert sum(row.value for row in rows) == pytest.approx(100)
    best = max(rows, key=lambda row: row.value).layer
    assert any(f"The layer to look at is {best}" in f.text for f in many.findings)
    said = next(f for f in many.findings if "kd" in f.text and "geometry is its own" in f.text)
    assert many.rows[said.rows[0]].layer == best or many.rows[said.rows[1]].layer == best
