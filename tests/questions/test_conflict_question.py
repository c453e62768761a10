"""The question as a study asks it: plain networks, mixtures of experts, virtual attention, and too little data."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from kdlens import gradient_conflict
from kdlens.answer import Answer
from kdlens.data.images import Images
from kdlens.errors import ConfigError, LayerNotFoundError, ModelError
from kdlens.nn import HME, LinearHeads, insert_vam
from kdlens.questions.conflict.dealing import dealt
from kdlens.questions.conflict.pairs import pair_changes
from kdlens.questions.conflict.question import Conflict
from kdlens.questions.conflict.superclasses import CIFAR10_GROUPS, superclasses_of
from kdlens.questions.context import Subject
from kdlens.questions.making import make_question
from kdlens.runtime import Runtime
from kdlens.workbench import Workbench

FAST = {"batch_size": 24, "batches": 4, "permutations": 99}


def alerts(answer):
    return [f.text for f in answer.findings if f.kind == "alert"]


def findings(answer, kind="finding"):
    return [f.text for f in answer.findings if f.kind == kind]


def mixture(seed, classes=4, experts=3):
    """A trunk, one level of experts, heads; its attention has moved since it was made."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
    level = [
        nn.Sequential(nn.Conv2d(8, 6, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for _ in range(experts)
    ]
    network = HME(trunk, [level], LinearHeads(6, classes))
    with torch.no_grad():
        for attention in network.task_attentions():
            attention.logits.copy_(torch.randn(attention.logits.shape))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def plain(build):
    context = build(seeds=2)
    return context, Conflict(**FAST, groups=[["class 0", "class 1"], ["class 2", "class 3"]]).answer(context)


@pytest.fixture(scope="module")
def attended(build):
    """Student "kd" is a mixture of experts as its baseline is; "vam" has virtual attention."""
    context = build(students=("kd", "vam"))
    subjects = []
    for at, subject in enumerate(context.subjects):
        if subject.name in ("baseline", "kd"):
            subject = replace(subject, network=mixture(at), layers=("trunk", "levels.0.2.0"))
        if subject.name == "vam":
            vam = insert_vam(subject.network, ["layer2.0", "layer3.0"], blocks=2)
            for logits in vam.parameters():
                logits.requires_grad_(False).copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        subjects.append(subject)
    context.subjects = tuple(subjects)
    return context, Conflict(**FAST, groups={"class 0": "a", "class 1": "a", "class 2": "b", "class 3": "b"}).answer(
        context
    )


def test_rows_are_those_of_the_function(plain):
    """Every number of a network is what `gradient_conflict` gives on the same batches."""
    context, answer = plain
    drawn = context.draw(24 * 4, "conflict")
    batches = dealt(context.labels[drawn], 24, 4)
    for subject in context.subjects:
        images, labels = context.images[drawn], context.labels[drawn]
        found = [
            gradient_conflict(subject.network, images[b], labels[b], layer="layer3", batch_size=24) for b in batches
        ]
        rates = [100 * one.rate.value for one in found]
        row = next(iter(answer.select(metric="conflict_rate", model=subject.name, seed=subject.seed)))
        assert row.value == pytest.approx(sum(rates) / 4)
        assert (row.layer, row.n, row.unit) == ("layer3", 96, "%")
        assert row.low <= row.value <= row.high
        assert 0 <= row.chance <= 100
        cosine = answer.value("conflict_cosine", model=subject.name, seed=subject.seed)
        assert cosine == pytest.approx(sum(one.mean_cosine.value for one in found) / 4, abs=1e-9)
        if subject.name == "teacher":
            matrix = torch.stack([one.cosines for one in found]).mean(0).float()
            torch.testing.assert_close(torch.from_numpy(answer.arrays["conflict.teacher"]), matrix)


def test_changes_are_paired(plain):
    _, answer = plain
    for seed in (0, 1, None):
        mine = answer.value("conflict_rate", model="kd", seed=seed)
        other = answer.value("conflict_rate", model="baseline", seed=seed)
        change = next(iter(answer.select(metric="conflict_rate_change", model="kd", seed=seed)))
        assert change.value == pytest.approx(mine - other)
        assert (change.compared_with, change.unit) == ("baseline", "points")
    one, two = (answer.select(metric="conflict_rate_change", model="kd", seed=s)[0] for s in (0, None))
    assert two.high - two.low > 0
    assert one.high - one.low > 0


def test_the_verdict_states_its_numbers_and_rests_on_rows(plain):
    _, answer = plain
    verdicts = [f for f in answer.findings if f.kind == "verdict"]
    assert len(verdicts) == 1
    change = answer.select(metric="conflict_rate_change", model="kd", seed=None)[0]
    assert answer.rows[verdicts[0].rows[0]] == change
    for part in ("at layer3", "by chance", "4 batches of 24 images", "2 seeds", "The rule says so because", "teacher"):
        assert part in verdicts[0].text
    assert all(f.rows for f in answer.findings if f.kind != "alert")


def test_without_attention_nothing_is_said_of_it(plain):
    _, answer = plain
    assert not any(row.metric.startswith(("attention", "vam", "tree", "routing")) for row in answer.rows)
    assert not any(name.startswith("routing") for name in answer.arrays)
    assert answer.arrays["superclass"].tolist() == [0, 0, 1, 1]
    assert sorted(answer.arrays["order"].tolist()) == [0, 1, 2, 3]


def test_mixtures_of_experts(attended):
    _, answer = attended
    entropy = answer.select(metric="attention_entropy", model="kd", seed=None)
    assert [row.layer for row in entropy] == ["levels.0"]
    assert entropy[0].chance == pytest.approx(math.log(3))
    assert 0 < entropy[0].value < math.log(3)
    change = answer.value("attention_entropy_change", model="kd", seed=None)
    base = answer.value("attention_entropy", model="baseline", seed=None)
    assert change == pytest.approx(entropy[0].value - base)
    assert answer.value("attention_temperature", model="kd", seed=None) == 1.0
    pure = answer.select(metric="tree_purity", model="kd", seed=None)[0]
    assert 0.5 <= pure.value <= 1
    assert 0 < pure.p <= 1
    assert pure.chance > 0.5
    assert answer.arrays["routing.kd.0"].shape == (4, 3)
    assert answer.arrays["parents.kd.0"].tolist() == answer.arrays["routing.kd.0"].argmax(1).tolist()
    assert answer.select(metric="conflict_rate", model="kd", seed=None)[0].layer == "trunk"
    told = " ".join(findings(answer))
    assert "as observed" in told
    assert "superclasses" in told
    assert "In the tree of kd" in told
    assert "lower" not in told.split("as observed")[1].split(".")[0]


def test_virtual_attention_on_and_off(attended):
    context, answer = attended
    subject = next(s for s in context.subjects if s.name == "vam")
    trained = answer.value("vam_top1_trained", model="vam")
    accuracy = (subject.network(context.images).argmax(1) == context.labels).float().mean().item()
    assert trained == pytest.approx(100 * accuracy)
    even = answer.value("vam_top1_even", model="vam")
    assert answer.value("vam_top1_change", model="vam") == pytest.approx(trained - even)
    change = answer.value("vam_nll_trained", model="vam") - answer.value("vam_nll_even", model="vam")
    assert answer.value("vam_nll_change", model="vam") == pytest.approx(change)
    assert change != 0
    assert answer.value("vam_parameters", model="vam") == 8
    assert [row.layer for row in answer.select(metric="attention_entropy", model="vam", seed=None)] == [
        "layer2.0",
        "layer3.0",
    ]
    assert any("Virtual attention of vam as trained" in text for text in findings(answer))
    assert "routing.vam.0" not in answer.arrays


def test_alerts_say_what_limits_the_numbers(attended):
    context, answer = attended
    told = " ".join(alerts(answer))
    assert "One seed of kd and vam" in told
    assert "vam is measured at layer3" in told
    assert "kd is measured" not in told
    unlike = [text for text in findings(answer, "verdict") if "vam" in text.split(":")[0]]
    assert "is inconclusive" in unlike[0]
    assert "of different kinds" in unlike[0]
    assert not any(text.startswith("vam:") for text in findings(answer))
    still = replace(context.subjects[1], network=mixture(0))
    for attention in still.network.task_attentions():
        attention.logits.copy_(attention.start)
    context = type(context)((context.subjects[0], still, *context.subjects[2:3]), context.images, context.labels, None)
    assert any("was never trained" in text for text in alerts(Conflict(**FAST).answer(context)))


def test_few_images_and_few_batches(build):
    context = build(n=20)
    answer = Conflict(batch_size=12, batches=4, chance=False).answer(context)
    told = " ".join(alerts(answer))
    assert "holds 3.0 of a class" in told
    assert "images for 1 batch only" in told
    assert answer.select(metric="conflict_rate", model="kd", seed=None)[0].low is None
    assert answer.select(metric="conflict_rate", model="kd", seed=None)[0].chance is None
    assert "inconclusive" in findings(answer, "verdict")[0]


def test_a_class_without_images(build):
    context = build()
    context._labels = torch.where(context.labels == 3, 2, context.labels)
    answer = Conflict(**FAST).answer(context)
    assert any("1 class of 4 has no images" in text for text in alerts(answer))
    assert not math.isnan(answer.value("conflict_rate", model="kd", seed=None))
    images = Conflict(**FAST, task="images").answer(context)
    assert any("no gradient of 1 class" in text for text in alerts(images))
    assert not math.isnan(images.value("conflict_rate", model="kd", seed=None))


def test_a_layer_that_no_gradient_reaches(build):
    context = build()
    student = next(s for s in context.subjects if s.name == "kd")
    student.network.layer3[0].bias.fill_(-1e4)
    answer = Conflict(**FAST, layer="layer2").answer(context)
    assert math.isnan(answer.value("conflict_rate", model="kd", seed=None))
    assert any("In kd, gradient of no class reaches layer2" in text for text in alerts(answer))
    assert "inconclusive" in findings(answer, "verdict")[0]
    assert json.dumps(answer.notes.options)


def test_images_with_nan_logits_are_left_out(build):
    context = build()
    context.images[::40] = torch.nan
    answer = Conflict(**FAST).answer(context)
    assert any("5 images for which some network gives NaN" in text for text in alerts(answer))
    assert not math.isnan(answer.value("conflict_rate", model="kd", seed=None))


def test_networks_that_are_never_finite(build):
    context = build()
    context.subjects[1].network.fc.bias.fill_(torch.nan)
    with pytest.raises(ModelError):
        Conflict(**FAST).answer(context)


def test_layers_by_name(build):
    context = build()
    answer = Conflict(**FAST, layer="layer2.0").answer(context)
    assert {row.layer for row in answer.select(metric="conflict_rate")} == {"layer2.0"}
    with pytest.raises(LayerNotFoundError, match='layer "layer9" not found in baseline; did you mean'):
        Conflict(**FAST, layer="layer9").answer(context)
    with pytest.raises(ModelError, match=r'layer "layer2\.2" \(ReLU\) has no parameters'):
        Conflict(**FAST, layer="layer2.2").answer(context)


def test_one_class(build):
    context = build(n=30)
    context.class_names = ["only"]
    answer = Conflict(**FAST).answer(context)
    assert answer.rows == []
    assert "two classes or more" in alerts(answer)[0]


def test_planted_pairs_are_named_and_no_others():
    """Of 28 pairs two change sign for sure; noise of the others is not named."""
    generator = torch.Generator().manual_seed(0)

    def cosines(planted):
        noise = 0.05 * torch.randn(8, 8, 8, generator=generator).double()
        noise = (noise + noise.mT) / 2
        for (a, b), value in planted.items():
            noise[:, a, b] += value
            noise[:, b, a] += value
        return noise

    found = pair_changes([cosines({(0, 1): 0.4, (2, 3): -0.4})], [cosines({(0, 1): -0.4, (2, 3): 0.4})])
    assert [(one.a, one.b) for one in found if one.stopped] == [(0, 1)]
    assert [(one.a, one.b) for one in found if one.started] == [(2, 3)]
    assert len(found) == 28
    null = pair_changes([cosines({})], [cosines({})])
    assert not any(one.sure for one in null)
    assert not any(one.sure for one in pair_changes([cosines({(0, 1): 0.4})[:2]], [cosines({(0, 1): -0.4})[:2]]))


def test_pairs_must_change_in_all_seeds():
    steady = torch.full((8, 3, 3), 0.3).double() + 0.01 * torch.randn(8, 3, 3).double()
    found = pair_changes([steady, -steady], [-steady, steady])
    assert not any(one.sure for one in found)


def test_named_pairs_become_sentences_with_support(build):
    """A student whose head for class 1 is that of class 0: what pulled apart before does so no more, or anew."""
    context = build(n=400)
    student = next(s for s in context.subjects if s.name == "kd")
    student.network.fc.weight[1] = student.network.fc.weight[0] + 0.01
    answer = Conflict(batch_size=40, batches=8, chance=False).answer(context)
    named = [row for row in answer.rows if row.metric in ("pair_stopped", "pair_started")]
    assert named, [row for row in answer.rows if row.metric == "pair_moved"]
    assert any("pulling against each other" in text and "class" in text for text in findings(answer))
    for row in named:
        before = answer.value("pair_cosine", model="baseline", class_name=row.class_name)
        after = answer.value("pair_cosine", model="kd", class_name=row.class_name)
        assert before * after < 0
        assert row.value == pytest.approx(after - before)
        assert row.p < 0.05


def test_batches_do_not_depend_on_how_the_study_runs(build):
    """Batch sizes of the study change nothing: a gradient's batch is the question's own."""
    context = build(n=96)
    images = Images(list(zip(context.images, context.labels.tolist(), strict=True)), classes=context.class_names)
    answers = []
    for size in (1, 64):
        bench = Workbench(context.subjects, images, seed=0, runtime=Runtime("cpu", batch_size=size))
        answers.append(Conflict(**FAST).answer(bench))
    first, second = answers
    assert [replace(row, value=0, low=0, high=0, chance=0, p=0) for row in first.rows] == [
        replace(row, value=0, low=0, high=0, chance=0, p=0) for row in second.rows
    ]
    assert [row.value for row in first.rows] == pytest.approx([row.value for row in second.rows], nan_ok=True)


def test_the_answer_can_be_saved(attended, tmp_path):
    _, answer = attended
    answer.save(tmp_path)
    back = Answer.load(tmp_path)
    assert len(back.rows) == len(answer.rows)
    assert set(back.arrays) == set(answer.arrays)


def test_superclasses():
    names = [name.capitalize() for group in CIFAR10_GROUPS.values() for name in group]
    assert superclasses_of("auto", names).names == ("animals", "vehicles")
    assert superclasses_of("auto", names[1:]) is None
    assert superclasses_of("none", names) is None
    with pytest.raises(ConfigError, match='no class "cow"'):
        superclasses_of([["cow"]], names)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"batches": 0}, "batches must be 1 or more"),
        ({"batch_size": 1}, "batch_size must be 2 or more"),
        ({"task": "pairs"}, "task must be"),
        ({"margin": -1}, "margin must be 0 or more"),
        ({"layer": ""}, "layer must be"),
        ({"groups": "teacher"}, 'groups must be "auto" or "none"'),
    ],
)
def test_options_that_cannot_be(options, text):
    with pytest.raises(ConfigError, match=text):
        Conflict(**options)
    if options != {"task": "pairs"}:
        with pytest.raises(ConfigError, match="conflict"):
            make_question({"conflict": options})


def test_subjects_of_other_roles_may_lack_the_layer(build, make_network):
    context = build()
    context.subjects = tuple(
        Subject(
            "teacher",
            "teacher",
            nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))
            .eval()
            .requires_grad_(False),
            ("1",),
        )
        if s.role == "teacher"
        else s
        for s in context.subjects
    )
    answer = Conflict(**FAST, layer="layer2").answer(context)
    assert answer.select(metric="conflict_rate", model="teacher", seed=None)[0].layer == "0"
