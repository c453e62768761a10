"""Every registered method trains both kinds of attention, and goes on after a stop to the same bits."""

import pytest
import torch

from kdlens.nn import attention_modules
from kdlens.training.api import distill
from kdlens.training.losses import LOSSES

METHODS = LOSSES.names()
ATTENTION = {"entropy": 0.2, "lr": 0.1, "temperature": {"start": 2.0, "end": 0.5}}
OPTIONS = {"epochs": 2, "batch_size": 20, "seed": 4, "attention": ATTENTION, "path_layers": ()}


@pytest.fixture(params=["hme", "vam"])
def make_student(request, tiny_hme, vam_network):
    return tiny_hme if request.param == "hme" else vam_network


@pytest.fixture
def run(make_student, make_network, data):
    """Train a new student by a method; layer-mse wants a teacher with a layer of the student's shape."""
    layer = "trunk.1" if hasattr(make_student(), "trunk") else "layer2.0"

    def call(method, **options):
        student, teacher = make_student(), make_network(8, seed=1)
        if method == "layer-mse":
            teacher, options = make_student(seed=1), {"layer": layer, **options}
        teacher = None if method == "self-distillation" else teacher
        return teacher, student, distill(teacher, student, data, method=method, **{**OPTIONS, **options})

    return call


@pytest.mark.parametrize("method", METHODS)
def test_attention_is_trained_and_the_teacher_left_alone(method, run, make_student, make_network, logits_of, same):
    start = make_student()
    teacher, student, result = run(method)
    assert not any(torch.equal(a, b) for a, b in zip(logits_of(start), logits_of(student), strict=True))
    assert all(torch.isfinite(value).all() for value in student.state_dict().values())
    assert "loss_attention_entropy" in result.history[-1]
    if teacher is not None:
        before = make_student(seed=1) if method == "layer-mse" else make_network(8, seed=1)
        assert same(before.state_dict().values(), teacher.state_dict().values())


@pytest.mark.parametrize("method", METHODS)
def test_stopped_and_continued_equals_straight(method, run, stopped, same, tmp_path):
    """A state after every update; three are made before the stop."""
    _, straight, first = run(method, out=tmp_path / "straight", save_every=1)
    stopped(3, run, method, out=tmp_path / "stopped", save_every=1)
    _, continued, second = run(method, out=tmp_path / "stopped", save_every=1)
    assert same(straight.state_dict().values(), continued.state_dict().values())
    assert {module.temperature for _, module in attention_modules(continued)} == {0.5}
    assert [row["loss"] for row in first.history] == [row["loss"] for row in second.history]


@pytest.mark.parametrize("method", METHODS)
def test_two_stages_under_every_method(method, tiny_hme, make_network, data):
    student, teacher = tiny_hme(), make_network(8, seed=1)
    options = {"layer": "trunk.1"} if method == "layer-mse" else {}
    teacher = None if method == "self-distillation" else tiny_hme(seed=1) if options else teacher
    asked = {**OPTIONS, "attention": {**ATTENTION, "stages": 2}, **options}
    result = distill(teacher, student, data, method=method, **asked)
    assert result.earlier[-1].network.temperature == 0.5
    assert student.temperature == 0
    assert result.loss.name == method
