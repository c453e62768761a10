"""The demo with so few images that it takes seconds: what it trains is what its study names."""

import pytest

from kdlens import demo
from kdlens.questions import QUESTIONS
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


@pytest.fixture(scope="module")
def more(folder):
    return study_from_file(folder / "knowledge.yaml")


def test_every_question_of_the_package_is_asked_once(study, more):
    asked = [question.name for one in (study, more) for question in one.questions]
    assert sorted(asked) == sorted(QUESTIONS.names())


def test_the_second_study_is_of_the_first_seed(study, more):
    first = {network.name: network for network in study.networks if network.seed == 0}
    assert {network.name for network in more.networks} == set(first)
    for network in more.networks:
        assert network.weights == first[network.name].weights
        assert (network.history is None) == (network.name == "teacher")


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
