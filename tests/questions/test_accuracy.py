import math
import re

import pytest
import torch

from kdlens.errors import ConfigError, DataError, ModelError
from kdlens.questions.accuracy.question import Accuracy
from kdlens.questions.accuracy.verdict import reason, verdict_of
from kdlens.questions.context import Subject, Trio
from kdlens.stats.resampling import Interval, mcnemar, seed_interval


class Planned:
    """A study in which every network's right and wrong answers are written down."""

    def __init__(self, right, labels, classes, *, teacher=None):
        """`right`: {"baseline": [(n,) bool for each seed], "kd": [...]}."""
        self._labels, self.class_names, self.seed = labels, classes, 0
        self._logits, subjects = {}, []
        named = {**({"teacher": [teacher]} if teacher is not None else {}), **right}
        for name, seeds in named.items():
            role = name if name in ("teacher", "baseline") else "student"
            for seed, answers in enumerate(seeds):
                subject = Subject(name, role, torch.nn.Identity(), (), seed)
                subjects.append(subject)
                self._logits[subject] = self._of(answers)
        self.subjects = subjects

    def _of(self, answers):
        if answers.ndim == 2:
            return answers
        shown = torch.where(answers, self._labels, (self._labels + 1) % len(self.class_names))
        return 3.0 * torch.nn.functional.one_hot(shown, len(self.class_names))

    @property
    def labels(self):
        return self._labels

    def logits(self, subject):
        return self._logits[subject]

    def trios(self):
        baselines = [s for s in self.subjects if s.role == "baseline"]
        teacher = next((s for s in self.subjects if s.role == "teacher"), None)
        for s in self.subjects:
            if s.role == "student":
                yield Trio(teacher, s, baselines[s.seed % len(baselines)])


LABELS = torch.arange(1000) % 10
NAMES = [f"c{i}" for i in range(10)]


def right(share, *, start=0):
    """`share` of 1000 images right, the first ones from `start`."""
    answers = torch.zeros(1000, dtype=torch.bool)
    answers[torch.arange(start, start + int(share * 1000)) % 1000] = True
    return answers


def verdict(answer):
    return next(f.text for f in answer.findings if f.kind == "verdict")


def alerts(answer):
    return [f.text for f in answer.findings if f.kind == "alert"]


@pytest.mark.parametrize(
    ("low", "high", "margin", "expected"),
    [
        (0.1, 0.5, 1.0, "HELPED"),
        (1.4, 2.8, 1.0, "HELPED"),
        (-2.0, -0.1, 1.0, "HURT"),
        (-0.9, 0.9, 1.0, "NO EFFECT"),
        (-1.0, 0.9, 1.0, "INCONCLUSIVE"),
        (-0.4, 1.2, 1.0, "INCONCLUSIVE"),
        (0.0, 0.5, 1.0, "NO EFFECT"),
        (-0.1, 0.1, 0.0, "INCONCLUSIVE"),
    ],
)
def test_the_rule(low, high, margin, expected):
    gain = Interval((low + high) / 2, low, high, 100)
    assert verdict_of(gain, margin) == expected
    assert reason(expected, gain, margin)
    mirrored = {"HELPED": "HURT", "HURT": "HELPED"}.get(expected, expected)
    assert verdict_of(Interval(-gain.value, -high, -low, 100), margin) == mirrored


def test_a_gain_is_found_with_its_numbers():
    answer = Accuracy().answer(Planned({"baseline": [right(0.8)], "kd": [right(0.9)]}, LABELS, NAMES))
    assert answer.value("top1", model="kd", seed=0) == 90.0
    assert answer.value("top1_gain", model="kd", seed=0) == pytest.approx(10.0)
    assert answer.value("top1_gain", model="kd", seed=None) == pytest.approx(10.0)
    assert answer.value("helped_images", model="kd", seed=0) == 100
    assert answer.value("hurt_images", model="kd", seed=0) == 0
    assert answer.select(metric="top1_gain", seed=0)[0].p == pytest.approx(mcnemar(0, 100))
    text = verdict(answer)
    assert text.startswith("HELPED: kd names 90.0 % of the images right, baseline 80.0 %: +10.0 points [")
    assert "n = 1,000 images, 1 seed" in text
    assert text.endswith("The rule says so because the interval lies above 0.")


def test_swapping_student_and_baseline_turns_the_verdict():
    answer = Accuracy().answer(Planned({"baseline": [right(0.9)], "kd": [right(0.8)]}, LABELS, NAMES))
    assert verdict(answer).startswith("HURT")
    assert answer.value("top1_gain", seed=0) == pytest.approx(-10.0)


def test_no_effect_needs_a_tight_interval():
    same = {"baseline": [right(0.9)], "kd": [right(0.9)]}
    answer = Accuracy().answer(Planned(same, LABELS, NAMES))
    assert verdict(answer).startswith("NO EFFECT")
    assert any("exactly the same logits for every image" in text for text in alerts(answer))
    few = {"baseline": [right(0.9)[:40]], "kd": [right(0.9)[:40]]}
    answer = Accuracy().answer(Planned(few, LABELS[:40], NAMES))
    assert verdict(answer).startswith("INCONCLUSIVE")
    assert "would narrow it to 1 point either way" in verdict(answer)
    assert any(text.startswith("Only 40 images") for text in alerts(answer))


def test_seeds_are_joined_and_their_disagreement_is_told():
    study = Planned(
        {"baseline": [right(0.8)] * 3, "kd": [right(0.9), right(0.75), right(0.95)]}, LABELS, NAMES, teacher=right(0.97)
    )
    answer = Accuracy().answer(study)
    assert answer.value("top1_gain", model="kd", seed=None) == pytest.approx((10 - 5 + 15) / 3)
    row = answer.select(metric="top1_gain", model="kd", seed=None)[0]
    assert row.low < 0 < row.high
    assert verdict(answer).startswith("INCONCLUSIVE")
    assert any("disagree about the sign of the gain: +10.0, -5.0 and +15.0 points" in text for text in alerts(answer))
    assert answer.value("top1_gain_by_seed", model="kd") == pytest.approx(20 / 3)


def test_steady_seeds_help():
    study = Planned({"baseline": [right(0.8)] * 3, "kd": [right(0.9), right(0.89), right(0.91)]}, LABELS, NAMES)
    answer = Accuracy().answer(study)
    assert verdict(answer).startswith("HELPED")
    assert not any("disagree" in text for text in alerts(answer))
    assert not any(text.startswith("One seed") for text in alerts(answer))


def test_one_baseline_for_several_seeds_is_told():
    study = Planned({"baseline": [right(0.8)], "kd": [right(0.9), right(0.91)]}, LABELS, NAMES)
    assert any("compared with 1 baseline:" in text for text in alerts(Accuracy().answer(study)))


def test_class_gains_are_paired_and_corrected():
    student = right(0.8) | (LABELS == 9)
    answer = Accuracy().answer(Planned({"baseline": [right(0.8)], "kd": [student]}, LABELS, NAMES))
    rows = {row.class_name: row for row in answer.select(metric="class_gain", model="kd")}
    assert rows["c9"].value == pytest.approx(20.0)
    assert rows["c9"].p == pytest.approx(10 * mcnemar(0, 20))
    assert rows["c0"].value == 0
    assert rows["c0"].p == 1
    said = [f.text for f in answer.findings if "gains on" in f.text]
    assert len(said) == 1
    assert said[0].startswith('kd gains on "c9" (+20.0 points [')


def test_a_class_that_is_lost_is_told():
    student = right(1.0) & (LABELS != 3)
    answer = Accuracy().answer(Planned({"baseline": [right(0.95)], "kd": [student]}, LABELS, NAMES))
    assert any(f.text.startswith('kd loses on "c3"') and f.tone == "bad" for f in answer.findings)


def test_a_teacher_that_is_not_better_is_an_alert():
    study = Planned({"baseline": [right(0.8)], "kd": [right(0.8)]}, LABELS, NAMES, teacher=right(0.8, start=100))
    assert any(
        text.startswith("teacher is not clearly better than baseline: 0.0 points")
        for text in alerts(Accuracy().answer(study))
    )
    study = Planned({"baseline": [right(0.8)], "kd": [right(0.8)]}, LABELS, NAMES, teacher=right(0.9))
    assert not any("little to distil" in text for text in alerts(Accuracy().answer(study)))


def test_what_there_is_to_gain_covers_the_spread_of_the_baselines():
    seeds = [right(0.7), right(0.8), right(0.9)]
    study = Planned({"baseline": seeds, "kd": seeds}, LABELS, NAMES, teacher=right(0.95))
    [row] = Accuracy().answer(study).select(metric="teacher_advantage")
    over_seeds = seed_interval([25.0, 15.0, 5.0])
    assert row.value == pytest.approx(15.0)
    assert row.low == pytest.approx(over_seeds.low, abs=0.5)
    assert row.high == pytest.approx(over_seeds.high, abs=0.5)


def test_likeness_to_the_teacher():
    study = Planned({"baseline": [right(0.8)], "kd": [right(0.9)]}, LABELS, NAMES, teacher=right(0.9))
    answer = Accuracy().answer(study)
    assert answer.value("agreement", model="kd", seed=0) == 100.0
    assert answer.value("agreement_gain", model="kd") == pytest.approx(10.0)
    assert answer.value("kl_to_teacher", model="kd", seed=0) == 0
    assert answer.value("kl_change", model="kd") < 0
    assert any("kd agrees with teacher more often than baseline does: 100.0 %" in f.text for f in answer.findings)


def test_an_empty_class_and_a_single_class_are_told():
    study = Planned({"baseline": [right(0.8)], "kd": [right(0.9)]}, LABELS % 9, NAMES)
    assert any('1 class of 10 has no images and cannot be judged: "c9"' in t for t in alerts(Accuracy().answer(study)))
    study = Planned({"baseline": [right(0.8)], "kd": [right(0.9)]}, torch.zeros(1000).long(), NAMES)
    assert any('All 1,000 images are of one class, "c0"' in t for t in alerts(Accuracy().answer(study)))


@pytest.mark.parametrize("n", [5, 10])
def test_images_of_as_many_classes_are_not_said_to_be_of_one(n):
    study = Planned({"baseline": [right(0.8)[:n]], "kd": [right(0.9)[:n]]}, LABELS[:n], NAMES)
    told = " ".join(alerts(Accuracy().answer(study)))
    assert "one class" not in told
    assert "same label" not in told
    assert ("have no images" in told) == (n == 5)


def test_the_only_image_is_counted_as_one():
    study = Planned({"baseline": [torch.tensor([False])], "kd": [torch.tensor([True])]}, LABELS[:1], NAMES)
    answer = Accuracy().answer(study)
    assert any(t.startswith('The only image is of one class, "c0"') for t in alerts(answer))
    assert any(t.startswith("Only 1 image:") for t in alerts(answer))
    said = [f.text for f in answer.findings]
    assert any(t.startswith("kd helps 1 image that baseline gets wrong and hurts 0 images that it") for t in said)
    assert not re.search(r"\b1 (images|classes|seeds|points|baselines|networks)", " ".join(said))


@pytest.mark.parametrize(
    ("second", "helped"), [(0.801, "1 image"), (0.802, "1.5 images"), (0.803, "2 images"), (0.8, "0.5 images")]
)
def test_means_over_seeds_have_a_digit_where_they_are_not_whole(second, helped):
    study = Planned({"baseline": [right(0.8)] * 2, "kd": [right(0.801), right(second)]}, LABELS, NAMES)
    said = [f.text for f in Accuracy().answer(study).findings]
    assert any(t.startswith(f"kd helps {helped} that baseline gets wrong and hurts 0 images") for t in said)


def test_numbers_of_a_sentence_add_up_as_they_are_written():
    n = 400  # 80.25 % and 80.5 %: with one digit 80.5 - 80.2 would not be 0.2
    baseline, student = torch.arange(n) < 321, torch.arange(n) < 322
    answer = Accuracy().answer(Planned({"baseline": [baseline], "kd": [student]}, LABELS[:n], NAMES))
    mine, other, gain = map(float, re.findall(r"([\d.]+) %.*? ([\d.]+) %: \+([\d.]+) points", verdict(answer))[0])
    assert mine - other == pytest.approx(gain, abs=1e-9)
    assert gain == 0.25


def test_few_images_do_not_say_how_many_would_do():
    few = {"baseline": [right(0.9)[:5]], "kd": [right(0.9)[:5]]}
    text = verdict(Accuracy().answer(Planned(few, LABELS[:5], NAMES)))
    assert "About" not in text
    assert "too few to say how many" in text


def test_a_class_that_is_sure_has_an_interval_without_zero():
    """Seeds that disagree about a class, on images that each seed is sure of."""
    up, down = right(0.5) | (LABELS == 9), right(0.5)
    study = Planned({"baseline": [right(0.5)] * 3, "kd": [up, down, down]}, LABELS, NAMES)
    [row] = Accuracy().answer(study).select(metric="class_gain", model="kd", class_name="c9")
    assert row.low < 0 < row.high
    assert row.p > 0.05
    steady = Planned({"baseline": [right(0.5)] * 3, "kd": [up, up, up]}, LABELS, NAMES)
    [row] = Accuracy().answer(steady).select(metric="class_gain", model="kd", class_name="c9")
    assert row.low > 0
    assert row.p < 0.001


def likeness(answer):
    return next(f.text for f in answer.findings if "KL divergence" in f.text)


def test_what_cannot_be_told_is_not_called_equal():
    teacher = right(0.9)
    few = slice(0, 60)
    study = Planned(
        {"baseline": [right(0.9, start=5)[few]], "kd": [right(0.9)[few]]}, LABELS[few], NAMES, teacher=teacher[few]
    )
    assert "about as often" not in likeness(Accuracy().answer(study))
    same = Planned({"baseline": [right(0.8)], "kd": [right(0.8)]}, LABELS, NAMES, teacher=teacher)
    assert likeness(Accuracy().answer(same)).startswith("kd agrees with teacher about as often as baseline does: 90.0")
    wide = Planned({"baseline": [right(0.8)[:60]], "kd": [right(0.8)[:60]]}, LABELS[:60], NAMES, teacher=teacher[:60])
    assert likeness(Accuracy().answer(wide)).startswith(
        "How often kd agrees with teacher does not clearly differ from how often baseline does: "
    )


def test_one_answer_to_everything_is_not_called_well_calibrated_in_green():
    always = 9.0 * torch.nn.functional.one_hot(torch.zeros(1000).long(), 10)
    labels = torch.where(torch.arange(1000) < 990, 0, 1)
    names = ["a", *NAMES[1:]]
    unsure = Planned({"baseline": [right(0.99)]}, labels, names)._of(right(0.99))
    answer = Accuracy().answer(Planned({"baseline": [unsure], "kd": [always]}, labels, names))
    [said] = [f for f in answer.findings if "calibrated than" in f.text]
    assert said.text.startswith("kd is better calibrated")
    assert said.tone == "neutral"


def test_the_teacher_given_as_the_student_is_told():
    study = Planned({"baseline": [right(0.8)], "kd": [right(0.9)]}, LABELS, NAMES, teacher=right(0.9))
    told = alerts(Accuracy().answer(study))
    assert any(t.startswith("kd gives exactly the same logits for every image as teacher") for t in told)
    study = Planned({"baseline": [right(0.8)], "kd": [right(0.91)]}, LABELS, NAMES, teacher=right(0.9))
    assert not any("as teacher" in t for t in alerts(Accuracy().answer(study)))


def test_class_names_that_cannot_be_told_apart_are_an_alert():
    networks = {"baseline": [right(0.8)], "kd": [right(0.9)]}
    told = alerts(Accuracy().answer(Planned(networks, LABELS, ["crane", "crane", " ", *NAMES[3:]])))
    assert '1 class name stands for several classes: "crane".' in told
    assert "1 class of 10 has an empty name: 2, counted from 0." in told
    assert not any("name" in t for t in alerts(Accuracy().answer(Planned(networks, LABELS, NAMES))))


def test_a_name_without_end_is_shortened_in_sentences_and_kept_in_rows():
    endless = "x" * 3000
    student = right(0.8) | (LABELS == 9)
    study = Planned({"baseline": [right(0.8)], "kd": [student]}, LABELS, [*NAMES[:9], endless])
    answer = Accuracy().answer(study)
    assert answer.select(metric="class_gain", class_name=endless)
    assert all(len(f.text) < 600 for f in answer.findings)


def test_one_alert_a_reason_however_many_students():
    broken = Planned({"baseline": [right(0.8)]}, LABELS, NAMES)._of(right(0.9)).clone()
    broken[:3] = math.nan
    students = {"kd": [right(0.8)], "at": [right(0.8)], "fitnet": [broken], "tf": [broken]}
    told = alerts(Accuracy().answer(Planned({"baseline": [right(0.8)], **students}, LABELS, NAMES)))
    assert told == [
        "fitnet and tf give NaN or infinite logits for 3 and 3 of 1,000 images; they count as wrong, and are left out "
        "of log-loss, calibration and KL.",
        "One seed: the intervals of the gains of kd, at, fitnet and tf cover the choice of images, not the luck of "
        "training. They speak of these networks; three seeds or more speak of the method.",
        "kd and at give exactly the same logits for every image as baseline: the same weights may have been loaded "
        "twice.",
    ]
    several = {name: [right(0.9), right(0.91)] for name in ("kd", "at")}
    told = alerts(Accuracy().answer(Planned({"baseline": [right(0.8)], **several}, LABELS, NAMES)))
    assert [t for t in told if "baseline" in t] == [
        "kd and at have 2 seeds each but are compared with 1 baseline: how the baseline varies from training to "
        "training is not fully in the interval."
    ]


def test_networks_that_always_give_one_answer_are_told():
    always = torch.zeros(1000, 10).index_fill(1, torch.tensor([4]), 1.0)
    study = Planned({"baseline": [always], "kd": [always + 1]}, LABELS, NAMES, teacher=right(0.9))
    told = [t for t in alerts(Accuracy().answer(study)) if "a single answer" in t]
    assert len(told) == 1
    assert told[0].startswith("baseline and kd each give a single answer for all images")
    one_class = Planned({"baseline": [right(1.0)], "kd": [right(1.0)]}, torch.zeros(1000).long(), NAMES)
    assert not any("a single answer" in t for t in alerts(Accuracy().answer(one_class)))


def test_nan_logits_are_named_counted_and_left_out():
    logits = Planned({"baseline": [right(0.8)]}, LABELS, NAMES)._of(right(0.9)).clone()
    logits[:3] = math.nan
    study = Planned({"baseline": [right(0.8)], "kd": [logits]}, LABELS, NAMES, teacher=right(0.9))
    answer = Accuracy().answer(study)
    assert any(t.startswith("kd gives NaN or infinite logits for 3 of 1,000 images") for t in alerts(answer))
    assert answer.value("top1", model="kd", seed=0) == pytest.approx(89.7)
    assert answer.select(metric="nll", model="kd", seed=0)[0].n == 997
    assert all(math.isfinite(row.value) for row in answer.rows)


def test_wrong_class_counts_and_labels_are_errors():
    with pytest.raises(ModelError, match=r"kd gives logits of shape \(1000, 12\)"):
        Accuracy().answer(Planned({"baseline": [right(0.8)], "kd": [torch.zeros(1000, 12)]}, LABELS, NAMES))
    with pytest.raises(DataError, match="label 9 is outside the 5 classes"):
        Accuracy().answer(Planned({"baseline": [torch.zeros(1000, 5)]}, LABELS, NAMES[:5]))
    with pytest.raises(ConfigError, match="margin must be 0 or more"):
        Accuracy(margin=-1)


def test_the_rule_stands_in_the_notes_and_every_sentence_has_support(make_context):
    answer = Accuracy(margin=0.5).answer(make_context(seeds=2, n=96, students=("kd", "at")))
    assert "NO EFFECT if it holds 0 and stays within 0.5 points" in answer.notes.method
    assert len([f for f in answer.findings if f.kind == "verdict"]) == 2
    assert all(f.rows for f in answer.findings if f.kind != "alert")
    for row in answer.rows:
        if row.low is not None:
            assert row.low <= row.value <= row.high, row
        assert row.n
    names = {row.metric for row in answer.rows}
    assert {"top1", "top1_gain", "ece", "nll", "agreement", "kl_to_teacher", "class_gain"} <= names


def test_the_answer_does_not_depend_on_chance(make_context):
    first, second = (Accuracy().answer(make_context(n=64)) for _ in range(2))
    assert first.rows == second.rows
