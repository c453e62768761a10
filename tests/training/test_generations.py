"""Self-distillation and chains: who learns from whom."""

import copy

import pytest
import torch

from kdlens.errors import ConfigError, ModelError
from kdlens.models.weights import read_weights
from kdlens.training.api import distill
from kdlens.training.chain import distill_chain

METHOD = {"method": "self-distillation", "epochs": 2, "batch_size": 20}


def test_generation_0_learns_labels_and_each_next_from_the_one_before(data, make_network, tmp_path):
    student = make_network(4)
    start = copy.deepcopy(student)
    result = distill(None, student, data, generations=2, out=tmp_path / "run", **METHOD)
    assert [earlier.loss.name for earlier in result.earlier] == ["labels", "self-distillation"]
    assert [earlier.folder.name for earlier in result.earlier] == ["generation-0", "generation-1"]
    by_hand = copy.deepcopy(start)
    distill(result.earlier[1].network, by_hand, data, method="kd", temperature=1.0, alpha=0.5, epochs=2, batch_size=20)
    for name, tensor in by_hand.state_dict().items():
        assert torch.equal(tensor, student.state_dict()[name])
    assert torch.equal(read_weights(tmp_path / "run/student.safetensors")["fc.weight"], student.fc.weight.detach())


def test_a_given_teacher_stands_for_generation_0(data, make_network):
    teacher = make_network(4, seed=1)
    before = copy.deepcopy(teacher.state_dict())
    result = distill(teacher, make_network(4), data, **METHOD)
    assert result.earlier == ()
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())


def test_a_teacher_of_another_architecture_is_refused(data, make_network):
    with pytest.raises(
        ModelError, match=r'"layer1.0.weight" has shape \(8, 3, 3, 3\) in the teacher and \(4, 3, 3, 3\)'
    ):
        distill(make_network(8), make_network(4), data, **METHOD)


def test_generations_can_start_from_fresh_weights(data, make_network):
    asked = []

    def rebuild(generation):
        asked.append(generation)
        return make_network(4, seed=50 + generation)

    result = distill(None, make_network(4), data, generations=2, rebuild=rebuild, **METHOD)
    assert asked == [0, 1]
    assert "rebuild" not in result.loss.options


def test_a_chain_passes_knowledge_on_link_by_link(data, make_network, tmp_path):
    teacher, assistant, student = make_network(8, seed=1), make_network(6, seed=2), make_network(4, seed=3)
    assistant_by_hand, student_by_hand = copy.deepcopy(assistant), copy.deepcopy(student)
    options = {"method": "at", "epochs": 2, "batch_size": 20}
    result = distill_chain([teacher, assistant, student], data, out=tmp_path / "run", **options)
    distill(teacher, assistant_by_hand, data, **options)
    distill(assistant_by_hand, student_by_hand, data, **options)
    for network, by_hand in ((assistant, assistant_by_hand), (student, student_by_hand)):
        assert all(torch.equal(t, by_hand.state_dict()[n]) for n, t in network.state_dict().items())
    assert result.network is student
    assert [link.network for link in result.earlier] == [assistant]
    assert (tmp_path / "run/earlier/assistant-1/student.safetensors").is_file()
    assert (tmp_path / "run/student.safetensors").is_file()


def test_a_chain_of_one_is_none(data, make_network):
    with pytest.raises(ConfigError, match="at least a teacher and a student"):
        distill_chain([make_network(4)], data)
