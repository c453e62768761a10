"""What is wrong with the networks, layers or questions of a study is said before anything is computed."""

import pytest
import torch
from torch import nn

import kdlens
from kdlens.errors import ConfigError, KdlensError, ModelError, UnknownNameError
from kdlens.models.asked import check_layers
from kdlens.networks import Network, check_fit
from kdlens.questions.making import make_question, make_questions


@pytest.fixture(scope="module")
def images():
    return kdlens.load_dataset("fashion-scenes", count=32)


@pytest.fixture(scope="module")
def net():
    return kdlens.load_model("zoo:cnn8", classes=10)


@pytest.mark.parametrize(
    ("student", "message"),
    [
        ({"weight": torch.ones(1)}, "the weight is of type Tensor, but a network"),
        ("resnet8", "the student is the text 'resnet8'.*load_model"),
        (nn.ReLU, "the student is the class ReLU.*an instance"),
        ({"baseline": nn.ReLU()}, 'a student cannot be called "baseline"'),
        ({" ": nn.ReLU()}, "a student needs a name"),
        ({}, "at least one student"),
    ],
)
def test_what_is_no_study_is_refused(net, images, student, message):
    with pytest.raises(KdlensError, match=message):
        kdlens.explain(None, student, net, images, questions=["accuracy"])


def test_weights_are_told_apart_from_a_network(net, images):
    with pytest.raises(ModelError, match=r"the baseline is a state dict.*load_state_dict"):
        kdlens.explain(None, net, [net.state_dict()], images)


def test_a_part_without_the_last_class_can_be_explained(net, images):
    part = [(item.image, item.label) for item in (images[i] for i in range(32)) if item.label < 7]
    report = kdlens.explain(None, net, net, part, questions=["accuracy"])
    assert report.meta.data.classes == tuple("0123456789")
    with pytest.raises(ModelError, match=r"7 classes, so \(1, 7\) was expected; .*class_names="):
        kdlens.explain(None, net, net, part, class_names=list("abcdefg"))


@pytest.mark.parametrize("layers", ["auto", ["features.0"]])
@pytest.mark.parametrize("options", [{"in_channels": 1}, {"in_channels": 4}])
def test_wrong_channels_are_named_whatever_the_layers(net, images, options, layers):
    wrong = kdlens.load_model("zoo:cnn8", classes=10, **options)
    with pytest.raises(ModelError, match=r"student cannot take an image batch of shape \(1, 3, 32, 32\).*channels"):
        kdlens.explain(None, wrong, net, images, layers=layers)


def test_a_wrong_size_is_named(net, images):
    wrong = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 10))
    with pytest.raises(ModelError, match=r"student cannot take .*\(1, 3, 32, 32\).*`size` of the data resizes"):
        kdlens.explain(None, wrong, net, images)


def test_no_memory_for_the_first_image_is_said():
    class Huge(nn.Module):
        def forward(self, x):
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")

    with pytest.raises(KdlensError, match="out of memory with one image in kd") as caught:
        check_fit(Network("kd", "student", Huge()), torch.zeros(1, 3, 8, 8), 2)
    assert not isinstance(caught.value, ModelError)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"students": ["a"]}, 'not "students"; did you mean "student"'),
        ("layer4", r'e.g. \["layer4"\]'),
        ([], "list of different names"),
        (["a", "a"], "list of different names"),
        ({"student": "layer4"}, r'e.g. \["layer4"\]'),
    ],
)
def test_layers_that_say_nothing_are_refused(layers, message):
    with pytest.raises(ConfigError, match=message):
        check_layers(layers)


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta", "cpuu"])
def test_a_device_that_is_not_there_is_named(net, images, device):
    with pytest.raises(ConfigError, match=f'device "{device}" cannot be used; this machine has cpu'):
        kdlens.explain(None, net, net, images, device=device)


@pytest.mark.parametrize(
    ("questions", "error", "message"),
    [
        (["accuracy", "accuracy"], ConfigError, 'question "accuracy" is asked twice'),
        (["accuracy", {"accuracy": {}}], ConfigError, "asked twice"),
        ("accuracy", ConfigError, "must be a list"),
        ([], ConfigError, "at least one question"),
        ([3], ConfigError, "a question is a name or"),
        ([{"unicam": {}, "accuracy": {}}], ConfigError, "a question is a name or"),
        (["acuracy"], UnknownNameError, 'did you mean "accuracy"'),
        (
            [{"unicam": {"gallery": "many"}}],
            ConfigError,
            'question "unicam", option "gallery": expected a whole number, got .many',
        ),
        ([{"unicam": {"features": 3}}], ConfigError, 'option "features"'),
        ([{"relevance": {"partial": "perhaps"}}], ConfigError, 'option "partial"'),
        ([{"relevance": {"images": 2}}], ConfigError, "images must be 4 or more"),
        ([{"accuracy": {"margin": [1]}}], ConfigError, 'option "margin"'),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(questions, error, message):
    with pytest.raises(error, match=message):
        make_questions(questions)


def test_options_keep_their_types():
    question = make_question({"unicam": {"gallery": 8, "draws": 20}})
    assert (question.gallery, question.draws, question.features) == (8, 20, "pooled")
    assert type(question).__name__ == "UniCAMQuestion"
