"""Maps of a student that forgets what it learned, from its head to its input."""

import itertools

import pytest
import torch
from torch import nn

from kdlens.models.load import load_model
from kdlens.questions.context import Subject
from kdlens.questions.unicam.checked import LIKENESS
from kdlens.questions.unicam.joint.sanity import cascade, likeness, ranked, shuffled, stages_of
from kdlens.questions.unicam.joint.study_maps import JointMaps
from kdlens.questions.unicam.joint.temperatures import Temperatures
from kdlens.questions.unicam.question import UniCAMQuestion
from kdlens.questions.unicam.study_maps import PublishedMaps
from kdlens.questions.unicam.view import View

STAGES = ["head", "layer3", "layer2", "layer1"]


@pytest.fixture(scope="module")
def view(build):
    return View(build(seeds=2, n=160), images=128, layer="auto", features="pooled")


@pytest.fixture(scope="module")
def student(view):
    return next(s for s in view.context.subjects if s.role == "student")


def steps_of(view, maps, student):
    return list(cascade(maps, student, example=view.batch().images[:1], seed=0))


def joint_of(view):
    return JointMaps(view, "gradients", Temperatures(view.context))


class Edges:
    """Maps that show the edges of the image, whatever the network."""

    def __init__(self, view):
        images = view.batch().images.mean(1)
        self.maps = (images - images.roll(1, 2)).abs()

    def whole(self, model, given):
        return self.maps

    def own(self, model):
        return self.maps.clone()


def test_maps_that_ignore_the_network_stay_and_joint_maps_fall(view, student):
    for step in steps_of(view, Edges(view), student):
        assert torch.allclose(step.signed, torch.ones(128), atol=1e-5)
        assert torch.allclose(step.strength, torch.ones(128), atol=1e-5)
    steps = steps_of(view, joint_of(view), student)
    assert [step.stage for step in steps] == STAGES
    assert steps[-1].signed.nanmean() < 0.3
    assert all(step.signed.nanmean() < 0.9 for step in steps)


def test_maps_of_a_layer_outlive_the_head_behind_it(view, student):
    """Published maps are those of the last layer: nothing that comes later changes them."""
    head, *rest = steps_of(view, PublishedMaps(view), student)
    assert torch.allclose(head.signed[head.signed.isfinite()], torch.tensor(1.0), atol=1e-5)
    assert rest[0].signed.nanmean() < 0.9


def test_the_last_step_is_a_network_all_shuffled(view, student):
    maps = joint_of(view)
    all_shuffled = maps.whole(shuffled(student, seed=0), None)
    wanted = likeness(maps.whole(student, None), all_shuffled)
    assert torch.allclose(steps_of(view, maps, student)[-1].signed, wanted, atol=1e-4, equal_nan=True)


def test_every_step_keeps_what_was_shuffled_before(view, student):
    stages = stages_of(student, view.batch().images[:1])
    before, names = dict(student.network.named_parameters()), set()
    found = []
    for of_stage in reversed(stages.values()):
        names |= of_stage
        found.append(dict(shuffled(student, seed=3, names=names).network.named_parameters()))
    for first, second in itertools.pairwise(found):
        changed = {n for n in before if not torch.equal(before[n], first[n])}
        assert changed
        assert all(torch.equal(first[n], second[n]) for n in changed)
    assert names == set(before)


def test_the_student_comes_back_bit_for_bit(view, student):
    before = {name: value.clone() for name, value in student.network.state_dict().items()}
    steps_of(view, joint_of(view), student)
    after = student.network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not student.network.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in student.network.modules())


@pytest.mark.parametrize(
    ("arch", "block", "head"),
    [
        ("resnet8", "layer", {"fc.weight", "fc.bias"}),
        ("cnn8", "layer", {"fc.weight", "fc.bias"}),
        ("vit_tiny_cifar", "blocks.", {"norm.weight", "norm.bias", "head.weight", "head.bias"}),
    ],
)
def test_stages_hold_every_weight_once(arch, block, head):
    network = load_model(arch, classes=4, **({"depth": 4} if block == "blocks." else {})).eval()
    layers = tuple(f"{block}{k}" for k in (1, 2, 3))
    stages = stages_of(Subject("kd", "student", network, layers), torch.zeros(1, 3, 32, 32))
    assert list(stages) == [*layers, "head"]
    assert stages["head"] == head
    assert sorted(n for names in stages.values() for n in names) == sorted(n for n, _ in network.named_parameters())
    for layer in layers[1:]:
        assert all(name.startswith(f"{layer}.") for name in stages[layer])


def test_stages_follow_the_order_of_use_and_not_of_definition():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 2)
            self.body = nn.Conv2d(3, 4, 3)
            self.token = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.head(self.body(x + self.token).mean((2, 3)))

    stages = stages_of(Subject("kd", "student", Backwards(), ("body",)), torch.zeros(1, 3, 8, 8))
    assert stages == {"body": {"token", "body.weight", "body.bias"}, "head": {"head.weight", "head.bias"}}


def test_ranks_are_those_of_sorting():
    maps = torch.tensor([[[3.0, 1.0], [1.0, 7.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert ranked(maps).flatten(1).tolist() == [[2.0, 0.5, 0.5, 3.0], [1.5] * 4]
    noise = torch.rand(1, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(likeness(ranked(noise), ranked(noise.exp())), torch.ones(1), atol=1e-5)


def test_rows_and_the_sentence_follow_the_steps(build):
    context = build(n=160)
    answer = UniCAMQuestion(draws=20, gallery=0).answer(context)
    view = View(context, images=128, layer="auto", features="pooled")
    student = next(s for s in context.subjects if s.role == "student")
    steps = steps_of(view, joint_of(view), student)
    for metric, kind in LIKENESS.items():
        rows = answer.select(metric=metric, model="kd")
        assert [row.layer for row in rows] == STAGES
        wanted = [getattr(step, kind).nanmean().item() for step in steps]
        assert [row.value for row in rows] == pytest.approx(wanted, abs=1e-5)
        assert all(row.low <= row.value <= row.high for row in rows)
        assert rows[0].chance is not None
    [last] = answer.select(metric="map_likeness_shuffled")
    assert last.value == answer.select(metric="map_likeness_cascade")[-1].value
    [text] = [f.text for f in answer.findings if "With its weights shuffled" in f.text]
    assert text.count("[") == 5
    assert "(head)" in text
    assert "(all weights)" in text
