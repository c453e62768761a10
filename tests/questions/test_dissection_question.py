"""The question as a study asks it: the same numbers as `kdlens.dissect`, and what it says of them."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

import kdlens
from kdlens.answer import Answer
from kdlens.data.concepts import load_concepts, write_broden
from kdlens.data.concepts.annotated import Annotation
from kdlens.data.concepts.part import Part
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.errors import ConfigError, DataError, UnknownNameError
from kdlens.models.weights import save_weights
from kdlens.questions.dissection.enlarge import enlarge
from kdlens.questions.dissection.findings import direction_of
from kdlens.questions.dissection.question import DissectionQuestion
from kdlens.questions.dissection.rows import Levels, measures_of, other_rule
from kdlens.questions.making import make_question
from kdlens.study_file import study_from_file

WORDS = Vocabulary.of({"object": ["white", "yellow", "magenta", "red"], "place": ["off the object", "never"]})
FAST = {"images": 64, "shuffles": 3, "rotations": 1, "gallery": 3}


class Pictures:
    """The fake study's images with what they show: a square of the class, and the rest."""

    name, mean, std, vocabulary = "pictures", None, None, WORDS

    def __init__(self, context, broken=()):
        self.context, self.broken = context, broken

    def __len__(self):
        return len(self.context.images)

    def image(self, index):
        return self.context.images[index]

    def annotation(self, index):
        if index in self.broken:
            raise DataError(f"mask {index}.png is missing")
        square = self.context.masks[index]
        return Annotation(torch.stack([(1 + self.context.labels[index]) * square, 5 * ~square]).int(), ())

    def fingerprint(self):
        return "pictures"


def asked(context, broken=(), **options):
    context.concepts = Pictures(context, broken)
    return DissectionQuestion(**{**FAST, **options}).answer(context)


@pytest.fixture(scope="module")
def context(build):
    return build(n=96, seeds=2)


@pytest.fixture(scope="module")
def answer(context):
    return asked(context)


@pytest.fixture(scope="module")
def direct(context):
    """The same networks on the same images, without a study."""
    networks = {f"{s.name}-{s.seed}": s.network for s in context.subjects}
    drawn = Part(Pictures(context), context.draw(64, "dissection"))
    options = {"shuffles": 3, "rotations": 1, "seed": context.seed, "examples": 6}
    return kdlens.dissect(networks, drawn, layers=["layer1", "layer2", "layer3"], **options)


def alerts(answer):
    return [f.text for f in answer.findings if f.kind == "alert"]


def test_counts_are_those_of_dissect(context, answer, direct):
    assert sum(found["layer2"].counts().total for found in direct.values()) > 3  # else nothing is tested
    for subject in context.subjects:
        for layer in subject.layers:
            one = direct[f"{subject.name}-{subject.seed}"][layer]
            counts, columns = one.counts(0.04), {"model": subject.name, "seed": subject.seed, "layer": layer}
            [row] = answer.select(metric="detectors", **columns)
            assert (row.value, row.n, row.unit) == (counts.total, counts.images, "units")
            assert (row.chance, row.p) == pytest.approx((counts.chance.value, counts.p))
            assert row.low == pytest.approx(max(0.0, counts.interval.low))
            assert row.high == pytest.approx(min(counts.units, counts.interval.high))
            assert answer.value("detectors_share", **columns) == pytest.approx(100 * counts.share)
            assert answer.value("unique_detectors", **columns) == counts.unique
            assert answer.value("detectors_held_out", **columns) == counts.held_out
            assert answer.value("detectors_also", **columns) == one.counts(0.05).total
            assert answer.value("detectors_rotated", **columns) == counts.chance_rotated.value
            other = one.counts(0.04, category_rule="netdissect-lite").total
            assert answer.value("detectors_other_rule", **columns) == other
            for category, units in counts.found.by_category.items():
                assert answer.value("detectors_in_category", class_name=category, **columns) == units


def test_means_over_seeds_and_gains_add_up(answer):
    for metric in ("detectors", "detectors_share", "unique_detectors", "detectors_held_out", "detectors_also"):
        for layer in ("layer1", "layer2", "layer3"):
            means = {}
            for name in ("kd", "baseline"):
                seeds = [answer.value(metric, model=name, layer=layer, seed=s) for s in (0, 1)]
                means[name] = answer.value(metric, model=name, layer=layer, seed=None)
                assert means[name] == pytest.approx(sum(seeds) / 2)
            [row] = answer.select(metric=f"{metric}_gain", model="kd", layer=layer, seed=None)
            assert row.value == pytest.approx(means["kd"] - means["baseline"])
            assert row.low < row.value < row.high
            assert (row.p < 0.05) == (not row.low <= 0 <= row.high)
            assert row.compared_with == "baseline"
    by_category = answer.select(metric="detectors_in_category_gain", layer="layer2", seed=None)
    assert sum(row.value for row in by_category) == pytest.approx(
        answer.value("detectors_gain", layer="layer2", seed=None)
    )


def test_the_sweep_falls_with_the_threshold_and_holds_both(answer):
    rows = answer.select(metric="detectors_sweep", model="teacher", layer="layer2")
    assert [row.class_name for row in rows] == [f"IoU {t}" for t in ("0.03", "0.04", "0.05", "0.06", "0.08", "0.1")]
    assert all(a.value >= b.value for a, b in pairwise(rows))
    assert rows[1].value == answer.value("detectors", model="teacher", layer="layer2", seed=None)


def test_concepts_gained_kept_and_lost_are_the_sets_of_labels(answer, direct):
    every = [[set(direct[f"{name}-{s}"]["layer3"].concepts(0.04)) for s in (0, 1)] for name in ("kd", "baseline")]
    for seed in (0, 1):
        kd, baseline = every[0][seed], every[1][seed]
        for story, labels in (("gained", kd - baseline), ("kept", kd & baseline), ("lost", baseline - kd)):
            assert answer.value(f"concepts_{story}", model="kd", layer="layer3", seed=seed) == len(labels)
    kd, baseline = every
    named = {
        story: {row.class_name.partition(" (")[0] for row in answer.select(metric=f"concept_{story}_change")}
        for story in ("gained", "kept", "lost", "mixed")
    }
    assert named["gained"] == kd[0] & kd[1] - (baseline[0] | baseline[1])
    assert named["kept"] == kd[0] & kd[1] & baseline[0] & baseline[1]
    assert set().union(*named.values()) == kd[0] | kd[1] | baseline[0] | baseline[1]
    for row in answer.select(metric="concept_units", model="kd"):
        units = [direct[f"kd-{s}"]["layer3"].concepts(0.04).get(row.class_name.partition(" (")[0], []) for s in (0, 1)]
        assert row.value == (len(units[0]) + len(units[1])) / 2


def test_the_verdict_tells_its_rows(answer):
    [verdict] = [f for f in answer.findings if f.kind == "verdict"]
    gain, mine, other = (answer.rows[i] for i in verdict.rows)
    assert [row.metric for row in (gain, mine, other)] == ["detectors_gain", "detectors", "detectors"]
    assert (gain.layer, gain.seed) == ("layer3", None)
    opening = {
        "more": "kd has more concept detectors than baseline at layer3",
        "fewer": "kd has fewer concept detectors than baseline at layer3",
        "unclear": "No clear difference in concept detectors between kd and baseline at layer3",
    }[direction_of(gain)]
    assert verdict.text.startswith(opening)
    assert f"{mine.value:.1f} units against {other.value:.1f} ({gain.value:+.1f} [{gain.low:.1f}" in verdict.text
    assert "IoU from .04, 64 images, 2 seeds" in verdict.text
    assert all(f.rows for f in answer.findings if f.kind == "finding")


@pytest.mark.parametrize(("silent", "opening", "tone"), [
    ("baseline", "kd has more concept detectors than baseline at layer3: ", "good"),
    ("kd", "kd has fewer concept detectors than baseline at layer3: ", "bad"),
])  # fmt: skip
def test_more_and_fewer_detectors_are_told_as_such(make_context, silent, opening, tone):
    """One of the two networks gives the same everywhere, so that its units are never above their thresholds."""
    study = make_context(n=96)
    for layer in ("layer1", "layer2", "layer3"):
        conv = next(s for s in study.subjects if s.name == silent).network.get_submodule(layer)[0]
        conv.weight.zero_()
        conv.bias.fill_(1.0)
    found = asked(study, threshold=0.02)
    [verdict] = [f for f in found.findings if f.kind == "verdict"]
    assert found.value("detectors", model=silent, layer="layer3", seed=0) == 0
    assert verdict.text.startswith(opening)
    assert verdict.tone == tone
    assert ("as Han et al. report, shows here" in verdict.text) == (tone == "good")
    assert f"No unit of {silent} is a detector at layer1, layer2 and layer3." in alerts(found)
    assert "One seed of kd: intervals cover the choice of images, not the luck of training." in alerts(found)


def test_units_are_shown_where_they_are_active(context, answer, direct):
    rows = [answer.rows[i] for i in answer.arrays["unit.row"]]
    assert rows
    assert {row.metric for row in rows} <= {"unit_gained", "unit_kept", "unit_lost"}
    image, places, active = (answer.arrays[f"unit.{name}"] for name in ("image", "images", "active"))
    drawn = context.draw(64, "dissection")
    for at, row in enumerate(rows):
        found, unit = direct[f"{row.model}-0"]["layer3"], int(row.class_name.split()[1].rstrip(":"))
        assert row.value == pytest.approx(float(found.best.iou[unit]))
        names = found.vocabulary.names
        assert row.class_name.startswith(f"unit {unit}: {names[int(found.best.label[unit])]} (")
        subject = next(s for s in context.subjects if (s.name, s.seed) == (row.model, 0))
        for slot in range(places.shape[1]):
            index = drawn[found.examples[unit, slot]]
            shown = context.display(context.images[index][None])[0].numpy()
            assert np.array_equal(image[places[at, slot]], shown)
            maps = context.activations_of(subject, context.images[index][None], ["layer3"])["layer3"]
            above = enlarge(maps[:, unit], (16, 16))[0].double() > found.thresholds[unit]
            assert np.array_equal(active[at, slot] > 0, above.numpy())
    assert len([row for row in rows if row.model == "kd"]) <= 3


def test_an_unreadable_annotation_costs_its_image_only(make_context):
    study = make_context(n=96)
    broken = study.draw(64, "dissection")[[3, 8]].tolist()
    found = asked(study, broken=broken)
    assert {row.n for row in found.select(metric="detectors")} == {62}
    text = next(text for text in alerts(found) if "could not be used" in text)
    assert text.startswith("2 images of 64 could not be used and are left out, e.g.: mask ")


def test_alerts_say_what_counts_are_worth(answer):
    said = alerts(answer)
    assert any(text.startswith("Only 64 images: rare labels win by chance") for text in said)
    assert "1 of 6 labels stand in fewer than 10 images and are not considered." in said
    assert not any(text.startswith("One seed") for text in said)


def test_a_count_that_chance_reaches_is_told(context):
    """Every unit is a detector where the threshold is nearly none, of dealt masks, too."""
    found = asked(context, threshold=1e-6, gallery=0)
    assert any("no more detectors than masks dealt to other images give at layer1 (" in text for text in alerts(found))
    assert not found.arrays
    row = found.select(metric="detectors", model="kd", layer="layer1", seed=None)[0]
    assert row.p == 1.0


def test_images_without_known_concepts(make_context):
    study = make_context(n=32)
    text = 'no concepts are known for the images of "pictures"; give annotated images by name: concepts: broden, cub'
    with pytest.raises(ConfigError, match=text):
        DissectionQuestion(**FAST).answer(study)


def test_named_concepts_on_a_study_of_other_images(make_context, tmp_path):
    write_broden(load_concepts("fashion-scenes", count=24), tmp_path / "broden")
    study = make_context(n=16)
    question = DissectionQuestion(
        "broden", str(tmp_path / "broden"), images=20, shuffles=0, rotations=0, min_images=2, preset="none"
    )
    found = question.answer(study)
    assert {row.n for row in found.select(metric="detectors")} == {20}
    assert any("shuffles: 0" in text for text in alerts(found))
    assert found.notes.options["annotated images"] == "broden"
    assert found.arrays["unit.image"].shape[1:] == (32, 32, 3) if "unit.image" in found.arrays else True


def test_layers_without_places_are_left_out(make_context):
    study = make_context(n=32)
    for subject in study.subjects:
        object.__setattr__(subject, "layers", ("layer3", "flat"))
    found = asked(study, images=32)
    assert {row.layer for row in found.select(metric="detectors")} == {"layer3"}
    assert any(text.startswith('kd at flat is left out: layer "flat" gives') for text in alerts(found))
    for subject in study.subjects:
        object.__setattr__(subject, "layers", ("flat",))
    found = asked(study, images=32)
    assert not found.rows
    assert "No layer has maps with places, so nothing was dissected." in alerts(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold is an IoU, above 0 and up to 1, got 0.0"),
        ({"also": 2.0}, "also is an IoU, above 0 and up to 1, got 2.0"),
        ({"images": 1}, "images must be 2 or more, got 1"),
        ({"gallery": -1}, "gallery must be 0 or more, got -1"),
        ({"category_rule": "mine"}, 'category_rule must be "paper" or "netdissect-lite", not "mine"'),
        ({"threshold_rule": "mine"}, 'threshold_rule must be "exact" or "netdissect", not "mine"'),
        ({"level": 1.0}, "level is the share of places above a threshold"),
        ({"shuffles": -1}, "shuffles must be 0 or more, got -1"),
        ({"preset": "mine"}, 'got "mine"'),
        ({"root": "folder"}, "root is the folder of named annotated images"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        DissectionQuestion(**options)


def test_options_from_a_file():
    asked_for = {"concepts": "broden", "root": "x", "preset": [[0.5, 0.5, 0.5], [0.2, 0.2, 0.2]], "shuffles": 5}
    question = make_question({"dissection": asked_for})
    assert question.preset == ([0.5, 0.5, 0.5], [0.2, 0.2, 0.2])
    with pytest.raises(UnknownNameError, match=r'question "dissection": .*brodn.*broden'):
        make_question({"dissection": {"concepts": "brodn"}})
    with pytest.raises(ConfigError, match='question "dissection", option "category_rule"'):
        make_question({"dissection": {"category_rule": "mine"}})


def test_folders_are_relative_to_the_study_file(tmp_path):
    for name in ("baseline", "kd"):
        save_weights(kdlens.load_model("zoo:cnn8", classes=10), tmp_path / f"{name}.safetensors")
    (tmp_path / "study.yaml").write_text("""
data: {name: fashion-scenes, count: 20}
models:
  baseline: {arch: "zoo:cnn8", weights: baseline.safetensors}
  students: {kd: {arch: "zoo:cnn8", weights: kd.safetensors}}
questions: [accuracy, {dissection: {concepts: broden, root: masks}}]
""")
    study = study_from_file(tmp_path / "study.yaml")
    assert study.questions[1].root == str(tmp_path / "masks")
    assert study.run().meta.failed["dissection"].startswith(f"broden: there is no folder {tmp_path / 'masks'}")


def test_a_real_study(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [kdlens.load_model("zoo:cnn8", classes=10) for _ in range(3)]
    data = kdlens.load_dataset("fashion-scenes", count=40)
    options = {"images": 400, "shuffles": 2, "rotations": 0, "min_images": 2, "gallery": 2, "threshold": 0.02}
    report = kdlens.explain(*nets, data, questions=[{"dissection": options}], layers=["layer2"], out=tmp_path)
    assert report.meta.failed == {}
    found = report["dissection"]
    assert {row.model for row in found.select(metric="detectors")} == {"teacher", "baseline", "student"}
    scenes = load_concepts("fashion-scenes", count=40)
    one = kdlens.dissect(nets[1], scenes, layers=["layer2"], min_images=2, shuffles=2, preset="none")["layer2"]
    counts = one.counts(0.02)
    assert counts.total  # else nothing is tested
    [row] = found.select(metric="detectors", model="student", seed=0)
    assert (row.value, row.chance, row.n) == (counts.total, counts.chance.value, 40)
    json.dumps(found.notes.options)
    assert Answer.load(tmp_path / "answers" / "dissection").rows == found.rows
    assert found.figure().axes
    assert "Which concepts units detect" in report.html()


def test_the_same_study_gives_the_same_answer_twice(context, answer):
    again = asked(context)
    assert again.rows == answer.rows
    assert [f.text for f in again.findings] == [f.text for f in answer.findings]


def test_measures_and_rules():
    measures = measures_of(Levels(0.04, 0.05), "netdissect-lite", ["object"])
    assert [m.rule for m in measures if m.metric == "detectors_other_rule"] == ["paper"]
    assert other_rule("paper") == "netdissect-lite"
    assert [m.threshold for m in measures if m.metric == "detectors_also"] == [0.05]
