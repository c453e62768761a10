"""The relevance question on images of which maps decide what is kept."""

import math
from dataclasses import replace

import pytest
import torch

from kdlens.data.images import Images
from kdlens.errors import ConfigError
from kdlens.questions.relevance.kept import outlines
from kdlens.questions.relevance.question import RelevanceQuestion
from kdlens.questions.relevance.relevance import relevance_of, similarity_of
from kdlens.questions.relevance.scores import Plan, Score, mean_score
from kdlens.questions.road import road
from kdlens.questions.unicam.maps import Scene, unicam_from_activations
from kdlens.questions.unicam.view import View
from kdlens.runtime import Runtime
from kdlens.workbench import Workbench

CONDITIONED = ("rs_distilled_conditioned", "rs_residual_conditioned", "fss_conditioned", "rs_mask_only")


def told(answer, kind):
    return [f.text for f in answer.findings if f.kind == kind]


@pytest.mark.parametrize("recipe", ["clean", "published"])
def test_rows_equal_the_pure_functions(make_context, recipe):
    context = make_context(n=96)
    answer = RelevanceQuestion(images=64, permutations=20, conditioned=recipe, percentile=40, maps="published").answer(
        context
    )
    indices = context.draw(64, "relevance")
    batch, (_, baseline, student) = context.batch(indices), context.subjects
    view = View(context, images=64, layer="auto", features="pooled")
    scene = Scene(view.sight(student, indices), view.sight(baseline, indices), batch.labels)
    compared = view.scene(student, baseline)
    cams = [
        unicam_from_activations(one, size=(16, 16), reference=other)
        for one, other in ((scene, compared), (scene.swapped(), compared.swapped()))
    ]
    maps = [cam.maps if recipe == "published" else cam.raw for cam in cams]
    ours, theirs = (road(batch.images, m, percentile=40, recipe=recipe) for m in maps)
    used = ~(ours.empty | theirs.empty) if recipe == "clean" else torch.ones(64).bool()
    assert used.sum() >= 8
    labels, plan = batch.labels[used], Plan(permutations=20)
    first = context.activations_of(student, ours.images[used], ["layer2"])["layer2"].flatten(1)
    second = context.activations_of(baseline, theirs.images[used], ["layer2"])["layer2"].flatten(1)
    shape = outlines(batch.images, theirs, recipe)[used]
    outline = context.activations_of(baseline, shape, ["layer2"])["layer2"].flatten(1)
    for metric, model, direct in (
        ("rs_distilled_conditioned", "kd", relevance_of(first, labels, plan=plan)),
        ("rs_residual_conditioned", "kd", relevance_of(second, labels, plan=plan)),
        ("fss_conditioned", "kd", similarity_of(first, second, plan)),
        ("rs_mask_only", "baseline", relevance_of(outline, labels, plan=plan)),
    ):
        [row] = answer.select(metric=metric, model=model, layer="layer2", seed=None)
        assert (row.value, row.low, row.high, row.p) == pytest.approx((direct.value, direct.low, direct.high, direct.p))
        assert row.chance == pytest.approx(direct.chance, abs=1e-6)
        assert row.n == int(used.sum())
        assert answer.select(metric=f"{metric}_null", model=model, layer="layer2")


def test_findings_say_what_the_rows_say(make_context):
    answer = RelevanceQuestion(images=96, permutations=50, conditioned="clean", maps="published").answer(make_context())
    [text] = [text for text in told(answer, "finding") if text.startswith("Shown only the 50 %")]
    row = answer.select(metric="rs_distilled_conditioned", layer="layer3", seed=None)[0]
    assert f"kd has RS {row.value:.2f}".replace("0.", ".") in text
    assert "at layer3; baseline, shown what its residual map keeps, has" in text
    assert "The maps' shape alone gives them" in text
    assert f"(n = {row.n} images)" in text
    [count] = [text for text in told(answer, "alert") if text.startswith("Conditioned scores of kd rest on")]
    assert f"{row.n} of 96 images" in count
    assert "rs_mask_only" in answer.notes.limits
    assert "ROAD" in answer.notes.method
    assert any("Rong" in source for source in answer.notes.sources)


def test_nothing_of_it_without_the_option(make_context):
    answer = RelevanceQuestion(images=48, permutations=10).answer(make_context(n=64))
    assert not {row.metric for row in answer.rows} & set(CONDITIONED)
    assert "rs_mask_only" not in answer.notes.limits
    assert "ROAD" not in answer.notes.method


def test_on_noise_the_maps_alone_make_relevance_and_the_control_finds_it_out(make_context):
    context = make_context(n=256)
    context.images = torch.rand(256, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    answer = RelevanceQuestion(images=192, permutations=200, conditioned="clean", maps="published").answer(context)
    for row in answer.select(metric="rs_layer", layer="layer3", seed=None):
        assert row.p > 0.05
    [residual] = answer.select(metric="rs_residual_conditioned", layer="layer3", seed=None)
    assert residual.value > 0.1
    assert residual.p < 0.01
    leaks = [text for text in told(answer, "alert") if "maps' shape alone is not clearly less relevant" in text]
    assert len(leaks) == 2


def test_a_map_whose_shape_tells_the_class_is_found_out(make_context, monkeypatch):
    """All images alike but for noise; only the maps differ, by class."""
    import kdlens.questions.relevance.conditioned as conditioned

    context = make_context(n=64, classes=2)
    context.images = 0.5 + 0.05 * torch.rand(64, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def telling(images, *, size, reference):
        maps = torch.zeros(len(images.labels), *size)
        for one, label in zip(maps, images.labels, strict=True):
            one[:8] = float(label == 0)
            one[8:] = float(label == 1)
        return type("Maps", (), {"maps": maps, "raw": maps})()

    monkeypatch.setattr(conditioned, "unicam_from_activations", telling)
    answer = RelevanceQuestion(images=64, permutations=50, conditioned="clean", maps="published").answer(context)
    for row in answer.select(metric="rs_mask_only", seed=None):
        assert row.value > 0.9
    leaks = [text for text in told(answer, "alert") if "maps' shape alone is not clearly less relevant" in text]
    assert len(leaks) == 2
    assert leaks[0].startswith("At layer1, layer2 and layer3 what kd makes of its distilled maps' shape")
    assert leaks[1].startswith("At layer1, layer2 and layer3 what baseline makes of its residual maps' shape")


def test_maps_that_tell_nothing_by_their_shape_raise_no_alarm(make_context, monkeypatch):
    import kdlens.questions.relevance.conditioned as conditioned

    context = make_context(n=128)
    colour = torch.nn.functional.one_hot(context.labels, 4)[:, :3].float()[:, :, None, None]
    context.images = colour + 0.1 * torch.rand(128, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def silent(images, *, size, reference):
        generator = torch.Generator().manual_seed(len(images.model.layer))
        maps = torch.rand(len(images.labels), *size, generator=generator)
        return type("Maps", (), {"maps": maps, "raw": maps})()

    monkeypatch.setattr(conditioned, "unicam_from_activations", silent)
    answer = RelevanceQuestion(images=64, permutations=50, conditioned="clean", maps="published").answer(context)
    assert min(row.value for row in answer.select(metric="rs_distilled_conditioned", seed=None)) > 0.5
    assert max(abs(row.value) for row in answer.select(metric="rs_mask_only", seed=None)) < 0.2
    assert not any("shape alone" in text for text in told(answer, "alert"))


def test_seeds_may_use_other_images_and_still_have_an_interval(make_context):
    answer = RelevanceQuestion(images=96, permutations=10, conditioned="clean", maps="published").answer(
        make_context(seeds=3)
    )
    for metric in CONDITIONED:
        rows = answer.select(metric=metric, model="kd", layer="layer3")
        assert [row.seed for row in rows] == [0, 1, 2, None]
        assert len({row.n for row in rows[:3]}) > 1
        assert rows[3].value == pytest.approx(sum(row.value for row in rows[:3]) / 3)
        assert rows[3].low < rows[3].value < rows[3].high
        assert rows[3].n == min(row.n for row in rows[:3])


def test_the_mean_over_different_images_is_a_jackknife_over_all_of_them():
    x = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def mean_of(used):
        left_out = (x[used].sum() - x[used]) / (len(used) - 1)
        return Score(x[used].mean().item(), len(used), left_out, images=used)

    first, second = torch.arange(0, 8), torch.arange(4, 12)
    whole = mean_score([mean_of(first), mean_of(second)])
    expected = []
    for i in range(12):
        parts = [x[used[used != i]].mean().item() for used in (first, second)]
        expected.append(sum(parts) / 2)
    assert whole.replicates.tolist() == pytest.approx(expected)


def test_equal_networks_have_no_maps_and_no_score(make_context):
    context = make_context(n=64)
    teacher, baseline, student = context.subjects
    context.subjects = (teacher, baseline, replace(student, network=baseline.network))
    answer = RelevanceQuestion(images=48, permutations=10, conditioned="clean", maps="published").answer(context)
    for metric in CONDITIONED:
        rows = answer.select(metric=metric, seed=None)
        assert rows
        assert all(math.isnan(row.value) for row in rows)
    assert any("maps keep a part of 0 of 48 images only" in text for text in told(answer, "alert"))
    assert not any(text.startswith("Shown only") for text in told(answer, "finding"))


def test_a_layer_without_places_is_told_and_costs_nothing_else(make_context):
    context = make_context(n=64)
    context.subjects = tuple(replace(s, layers=("layer1", "flat")) for s in context.subjects)
    answer = RelevanceQuestion(images=48, permutations=10, conditioned="clean", maps="published").answer(context)
    assert not answer.select(metric="rs_distilled_conditioned")
    assert answer.select(metric="rs_distilled", seed=None)
    [alert] = [text for text in told(answer, "alert") if text.startswith("No scores of kd on what maps keep:")]
    assert "flat" in alert


def test_a_study_reads_changed_images(make_context):
    context = make_context(n=64)
    images = Images(list(zip(context.images, context.labels.tolist(), strict=True)), classes=context.class_names)
    bench = Workbench(context.subjects, images, seed=0, runtime=Runtime("cpu", batch_size=7))
    changed = context.images[:10].flip(2)
    found = bench.activations_of(context.subjects[1], changed, ["layer3", "layer1"])
    expected = context.activations_of(context.subjects[1], changed, ["layer3", "layer1"])
    assert list(found) == ["layer3", "layer1"]
    for layer in found:
        assert torch.allclose(found[layer], expected[layer], atol=1e-6)
    answer = RelevanceQuestion(images=48, permutations=5, conditioned="published", maps="published").answer(bench)
    assert {row.metric for row in answer.rows} >= set(CONDITIONED)


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match='conditioned must be "none", "clean" or "published", not "yes"'):
        RelevanceQuestion(conditioned="yes")
    for percentile in (0, -3, 101, math.nan):
        with pytest.raises(ConfigError, match="above 0 and up to 100"):
            RelevanceQuestion(percentile=percentile)


def test_joint_maps_condition_as_well(make_context):
    answer = RelevanceQuestion(images=64, permutations=20, conditioned="clean").answer(make_context())
    for metric in ("rs_distilled_conditioned", "rs_residual_conditioned", "fss_conditioned", "rs_mask_only"):
        assert answer.select(metric=metric, seed=None)
    assert answer.notes.options["maps"] == "joint"
    with pytest.raises(ConfigError, match='maps must be "joint" or "published"'):
        RelevanceQuestion(maps="both")
