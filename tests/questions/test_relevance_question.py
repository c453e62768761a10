import math

import pytest
import torch

from kdlens.errors import ConfigError, StatisticsError
from kdlens.questions.relevance.question import RelevanceQuestion
from kdlens.questions.relevance.relevance import relevance_of, similarity_of
from kdlens.questions.relevance.scores import Plan
from kdlens.stats.resampling import seed_interval


def texts(answer, kind):
    return [f.text for f in answer.findings if f.kind == kind]


def test_rows_equal_the_pure_functions(make_context):
    context = make_context(n=64)
    answer = RelevanceQuestion(images=32, permutations=40).answer(context)
    indices = context.draw(32, "relevance")
    labels = context.labels[indices]
    teacher, baseline, student = (
        context.activations(s, indices, s.layers)["layer2"].flatten(1) for s in context.subjects
    )
    plan = Plan(permutations=40, seed=context.seed)
    assert answer.value("fss", model="kd", compared_with="baseline", layer="layer2", seed=0) == pytest.approx(
        similarity_of(student, baseline, plan).value
    )
    assert answer.value("fss", model="kd", compared_with="teacher", layer="layer2", seed=None) == pytest.approx(
        similarity_of(student, teacher, plan).value
    )
    row = answer.select(metric="rs_distilled", model="kd", layer="layer2", seed=None)[0]
    direct = relevance_of(student, labels, given=baseline, plan=plan)
    assert (row.value, row.low, row.high, row.p) == pytest.approx((direct.value, direct.low, direct.high, direct.p))
    assert row.chance == pytest.approx(direct.chance, abs=1e-6)
    residual = relevance_of(baseline, labels, given=student, plan=plan)
    assert answer.value("rs_residual", model="kd", layer="layer2", seed=0) == pytest.approx(residual.value)
    assert {r.model for r in answer.select(metric="rs_layer")} == {"teacher", "baseline", "kd"}


def test_the_null_band_of_every_score_is_a_row(make_context):
    answer = RelevanceQuestion(images=32, permutations=200).answer(make_context(n=64))
    for row in answer.select(metric="rs_layer", seed=None):
        [null] = answer.select(metric="rs_layer_null", model=row.model, layer=row.layer)
        assert null.value == pytest.approx(row.chance)
        assert null.low < null.value < null.high
        assert (row.p <= 0.025) == (row.value > null.high) or row.p == pytest.approx(0.025, abs=0.02)


def test_each_network_is_run_twice_however_many_layers_and_partners(make_context):
    context = make_context(n=64, students=("kd", "at"))
    RelevanceQuestion(images=32, permutations=0).answer(context)
    assert context.passes == 2 * len(context.subjects)  # one image for the sizes, then all


def test_seeds_have_rows_and_a_mean(make_context):
    answer = RelevanceQuestion(images=48, permutations=20).answer(make_context(n=64, seeds=3))
    rows = answer.select(metric="rs_distilled", model="kd", layer="layer3")
    assert [row.seed for row in rows] == [0, 1, 2, None]
    assert rows[3].value == pytest.approx(sum(row.value for row in rows[:3]) / 3)
    assert all(-1 <= row.low <= row.value <= row.high <= 1 for row in rows)
    gap = answer.select(metric="rs_difference", model="kd", layer="layer3")[0]
    assert gap.value == pytest.approx(
        rows[3].value - answer.value("rs_residual", model="kd", layer="layer3", seed=None)
    )
    assert (gap.p < 0.05) == (gap.low > 0 or gap.high < 0)


def test_findings_say_what_the_rows_say(fake_context):
    answer = RelevanceQuestion(images=96).answer(fake_context)
    said = texts(answer, "finding")
    assert said
    gaps = answer.select(metric="rs_difference", model="kd")
    if any("are more relevant than the features it dropped: RS" in text for text in said):
        assert max(gap.value for gap in gaps) > 0
    assert any("kd is" in text and "teacher than baseline is: FSS" in text for text in said)
    assert all("n = " in text for text in said)


def test_swapping_student_and_baseline_turns_the_difference(fake_context):
    from dataclasses import replace

    first = RelevanceQuestion(images=64, permutations=0).answer(fake_context)
    teacher, baseline, student = fake_context.subjects
    fake_context.subjects = (
        teacher,
        replace(baseline, network=student.network),
        replace(student, network=baseline.network),
    )
    second = RelevanceQuestion(images=64, permutations=0).answer(fake_context)
    for one, other in zip(first.select(metric="rs_difference"), second.select(metric="rs_difference"), strict=True):
        assert one.value == pytest.approx(-other.value, abs=1e-9)
        assert one.value != 0


def test_equal_networks_give_an_alert_with_the_reason(fake_context):
    from dataclasses import replace

    teacher, baseline, student = fake_context.subjects
    fake_context.subjects = (teacher, baseline, replace(student, network=baseline.network))
    answer = RelevanceQuestion(images=64, permutations=10).answer(fake_context)
    assert math.isnan(answer.value("rs_distilled", model="kd", layer="layer1", seed=None))
    [told] = [f for f in answer.findings if "No score" in f.text]
    assert told.text == (
        "No score for kd against baseline at layer1, layer2 and layer3 (rs_distilled and rs_residual): both networks' "
        "features are alike up to rounding, so neither has anything of its own."
    )
    undefined = {i for i, row in enumerate(answer.rows) if math.isnan(row.value)}
    assert set(told.rows) == undefined  # each dash in the table finds its reason


def test_one_alert_a_reason_however_many_networks_and_layers(make_context):
    """Five images of five classes: no label is nearer to one than to another."""
    context = make_context(n=5, classes=5, seeds=2, students=("kd", "at"))
    answer = RelevanceQuestion(images=5, permutations=10).answer(context)
    told = [text for text in texts(answer, "alert") if text.startswith("No score")]
    assert len(told) == len({text.rpartition(": ")[2] for text in told}) == 2
    assert told[0].startswith(
        "No score for teacher at layer1, layer2 and layer3; baseline at layer1, layer2 and layer3; "
        "kd at layer1, layer2 and layer3; at at layer1, layer2 and layer3 (rs_layer): "
    )
    assert not any("same label" in text.lower() for text in texts(answer, "alert"))


def test_a_seed_without_a_score_is_named(make_context):
    from dataclasses import replace

    context = make_context(n=64, seeds=3)
    baselines = {s.seed: s for s in context.subjects if s.role == "baseline"}
    context.subjects = tuple(
        replace(s, network=baselines[s.seed].network) if s.role == "student" and s.seed != 1 else s
        for s in context.subjects
    )
    told = texts(RelevanceQuestion(images=32, permutations=0).answer(context), "alert")
    assert any(text.startswith("No score for kd (seeds 0 and 2) against baseline at layer1,") for text in told)


def test_two_classes_and_few_images_are_told(make_context):
    answer = RelevanceQuestion(images=6, permutations=10).answer(make_context(n=12, classes=2))
    told = texts(answer, "alert")
    assert "Only two classes occur, so every label embedding gives the same scores." in told
    assert any(text.startswith("Only 6 images: under independence") for text in told)


def test_too_few_images_and_one_class_are_errors(make_context):
    context = make_context(n=16)
    context._labels = torch.zeros(16).long()
    with pytest.raises(StatisticsError, match="one class"):
        RelevanceQuestion().answer(context)
    with pytest.raises(ConfigError, match="images must be 4 or more"):
        RelevanceQuestion(images=3)
    with pytest.raises(ConfigError, match="unbiased"):
        RelevanceQuestion(statistic="other")
    with pytest.raises(ConfigError, match="mini-batches need at least 4 images, got 2"):
        RelevanceQuestion(aggregate="mean", mini_batch=2)


def test_without_a_teacher_and_with_the_published_statistic(make_context):
    context = make_context(n=64)
    context.subjects = context.subjects[1:]
    question = RelevanceQuestion(images=32, statistic="published", aggregate="mean", mini_batch=8, permutations=10)
    answer = question.answer(context)
    assert not answer.select(metric="fss_gain")
    assert all(row.value > 0.5 for row in answer.select(metric="fss", seed=None))  # near 1, as that statistic is
    assert "plain statistic of the published code" in answer.notes.method
    assert "mini-batches of about 8" in answer.notes.method


def test_what_was_not_tested_is_not_called_significant(make_context):
    answer = RelevanceQuestion(images=4, permutations=0).answer(make_context(n=16, classes=2))
    assert all(row.p is None for row in answer.select(metric="rs_difference"))  # four images leave no jackknife
    said = texts(answer, "finding")
    assert any("At no layer do the distilled features of kd differ for certain" in text for text in said)
    assert any("not clearly more or less like teacher" in text for text in said)
    assert not any("p unknown" in text or "Holm" in text for text in said)
    assert not any("more relevant than chance" in text for text in said)


def test_the_spread_over_seeds_counts_although_there_is_one_baseline(make_context):
    context = make_context(n=64, seeds=3)
    context.subjects = tuple(s for s in context.subjects if s.role != "baseline" or s.seed == 0)
    answer = RelevanceQuestion(images=48, permutations=0).answer(context)
    likeness = answer.select(metric="fss", model="kd", compared_with="teacher", layer="layer3")
    spread = seed_interval([row.value for row in likeness if row.seed is not None])
    [gain] = answer.select(metric="fss_gain", model="kd", layer="layer3")
    assert gain.value == pytest.approx(
        spread.value - answer.value("fss", model="baseline", compared_with="teacher", layer="layer3", seed=None)
    )
    assert gain.high - gain.low > spread.high - spread.low
