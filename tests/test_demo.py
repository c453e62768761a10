"""The demo with so few images that it takes seconds: what it trains is what its study names."""

import pytest
import torch

from kdlens import demo
from kdlens.questions import QUESTIONS
from kdlens.questions.discarding.discarding import accept_linear
from kdlens.questions.knowledge.masks import choose_grid
from kdlens.study_file import study_from_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A demo that was trained and not explained."""
    out = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "explain_file", lambda study, **options: study)
        assert demo.run_demo(out, seed=5, images=100) == out / "demo.yaml"
    return out


@pytest.fixture(scope="module")
def study(folder):
    return study_from_file(folder / "demo.yaml")


def test_the_questions_of_the_story_are_asked_once(study):
    asked = [question.name for question in study.questions]
    assert asked[:4] == ["accuracy", "reliance", "unicam", "relevance"]
    assert sorted(asked) == sorted(QUESTIONS.names())


def test_what_the_students_keep_can_be_measured_the_fast_way(study):
    """Where it cannot, the demo takes the slow way, and half an hour."""
    asked = next(question for question in study.questions if question.name == "knowledge")
    images, _, masks = study.workbench.images.batch(torch.arange(4))
    grid = choose_grid(*masks.shape[1:])
    for subject in study.workbench.subjects:
        if subject.seed == 0 and subject.role != "teacher":
            for layer in subject.layers:
                found = accept_linear(subject.network, images, layer=layer, grid=grid, probes=asked.probes)
                assert found.backend == "linear", f"{subject.label} at {layer}: {found.reason}"


def test_every_network_is_explained_with_the_training_it_comes_from(study):
    found = [(network.name, network.seed) for network in study.networks]
    trained = [(name, seed) for name in ("baseline", "kd", "kd-from-shortcut") for seed in range(demo.SEEDS)]
    assert sorted(found) == sorted([("teacher", 0), *trained])
    for network in study.networks:
        if network.name != "teacher":
            assert [one.epoch for one in network.history.checkpoints] == [0, *demo.RECORDED]
            assert network.history.checkpoints[-1].equals(network.module)


def test_path_lengths_are_there_for_the_layer_that_is_watched(study):
    for subject in study.workbench.subjects:
        if subject.history is not None:
            path = subject.history.path(subject.layers[-1])
            assert path[0] == 0
            assert (path.diff() > 0).all()
