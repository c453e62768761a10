"""The questions about knowledge with entropies measured for real, on small networks."""

import copy
from dataclasses import replace

import pytest
import torch

from kdlens.models.history import Checkpoint, History
from kdlens.questions.dynamics.question import Dynamics
from kdlens.questions.knowledge.question import Knowledge

# Equal networks have equal numbers with any probes, so 32 do; fewer would leave no cell above the threshold.
OPTIONS = {"images": 4, "grid": 8, "backend": "linear", "probes": 32, "threshold": 0.05, "gallery": 3}


@pytest.fixture(scope="module")
def twins(build):
    """A student whose weights and training are those of its baseline; nobody changes them."""
    context = build(n=40)
    teacher, baseline, student = context.subjects
    early = copy.deepcopy(baseline.network)
    with torch.no_grad():
        for parameter in early.parameters():
            parameter.mul_(0.7)
    trained = [
        History(
            (Checkpoint(0, copy.deepcopy(early)), Checkpoint(3, copy.deepcopy(baseline.network))),
            given=torch.tensor([0.0, 1.0], dtype=torch.float64),
        )
        for _ in range(2)
    ]
    student = replace(student, network=copy.deepcopy(baseline.network), history=trained[0])
    context.subjects = (teacher, replace(baseline, history=trained[1]), student)
    context.at = lambda subject, checkpoint: replace(subject, network=checkpoint.source)
    return context


@pytest.fixture(scope="module")
def knows(twins):
    return Knowledge(**OPTIONS).answer(twins)


@pytest.fixture(scope="module")
def learned(twins):
    return Dynamics(**OPTIONS).answer(twins)


def numbers(answer, model):
    return {(r.metric, r.layer, r.seed): (r.value, r.low, r.high) for r in answer.select(model=model, compared_with="")}


@pytest.mark.parametrize("question", ["knows", "learned"])
def test_identical_networks_have_identical_numbers(question, request):
    answer = request.getfixturevalue(question)
    assert numbers(answer, "kd") == numbers(answer, "baseline") != {}
    for row in answer.select(model="kd", compared_with="baseline"):
        assert (row.value, row.low, row.high) == (0, 0, 0)
    assert (answer.arrays["kept.kd"] == answer.arrays["kept.baseline"]).all()
    assert answer.arrays["kept.kd"].any()
    assert all("inconclusive" in f.text for f in answer.findings if f.kind == "verdict")


def test_the_last_checkpoint_is_the_network_itself(knows, learned):
    """Both questions draw the same images and probes, so that they speak of the same points."""
    assert (knows.arrays["kept.kd"] == learned.arrays["kept.kd"][-1]).all()
    last = learned.arrays["curve.points_on_object.kd"][-1, 0]
    assert last == knows.value("points_on_object", model="kd", layer="layer3", seed=None)


def test_batches_do_not_matter(twins, knows):
    parted = copy.copy(twins)

    def in_parts(subject, images, function):
        found = [function(subject.network, images[part], part) for part in torch.arange(len(images)).split(3)]
        return {name: torch.cat([one[name] for one in found]) for name in found[0]}

    parted.through = in_parts
    assert Knowledge(**OPTIONS).answer(parted).rows == knows.rows


def test_dead_features_are_rejected(twins):
    context = copy.copy(twins)
    teacher, baseline, student = twins.subjects
    dead = copy.deepcopy(student.network)
    with torch.no_grad():
        dead.layer3[0].bias.fill_(-100.0)
    context.subjects = (teacher, baseline, replace(student, network=dead))
    answer = Knowledge(**OPTIONS).answer(context)
    assert not answer.select(model="kd", layer="layer3")
    assert answer.select(model="kd", layer="layer2")
    assert answer.select(model="baseline", layer="layer3")
    assert any(f.text.startswith("kd rejects 4 of 4 images at layer3") for f in answer.findings)
