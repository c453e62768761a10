"""A mixture of experts trained softly and then, with the tree it found, again."""

import copy
import json
import warnings

import pytest
import torch

from kdlens.errors import ConfigError, ModelError
from kdlens.models.load import load_model
from kdlens.models.trees import plant_tree, warn_if_untrained
from kdlens.models.weights import read_weights
from kdlens.training.api import distill
from kdlens.training.randomness import derive

TWO = {"stages": 2, "lr": 2.0, "entropy": 0.1, "temperature": {"start": 2.0, "end": 0.5}}
SHORT = {"epochs": 2, "batch_size": 20, "record_epochs": "all"}


def test_the_tree_of_the_first_training_is_trained_again(data, tmp_path, train, logits_of, same, tiny_hme):
    student = tiny_hme()
    start = copy.deepcopy(student)
    result = train(student, data, attention=TWO, out=tmp_path, **SHORT)
    (soft,) = result.earlier
    assert soft.folder == tmp_path / "earlier/soft"
    assert soft.network is not student
    assert soft.network.temperature == 0.5
    assert student.temperature == 0
    assert same(logits_of(soft.network), logits_of(student))
    assert not same(logits_of(start), logits_of(student))
    assert result.history[-1]["attention_entropy"] == 0
    assert "loss_attention_entropy" in soft.history[0]
    assert "loss_attention_entropy" not in result.history[0]
    assert all(parameter.requires_grad for parameter in student.parameters())
    settings = [json.loads((tmp_path / name / "training.json").read_text()) for name in ("", "earlier/soft")]
    stages = [content["settings"]["training"]["attention"]["stages"] for content in settings]
    seeds = {content["settings"]["training"]["seed"] for content in settings}
    assert (stages, len(seeds)) == ([2, 1], 2)


def test_everything_but_the_attention_starts_anew(data, tmp_path, train, tiny_hme):
    student = tiny_hme()
    first = copy.deepcopy(student.state_dict())
    train(student, data, attention=TWO, out=tmp_path, **SHORT)
    planted = read_weights(tmp_path / "checkpoints/epoch-000.safetensors")
    soft = read_weights(tmp_path / "earlier/soft/student.safetensors")
    for name in ("trunk.0.weight", "levels.0.0.0.weight", "levels.1.1.0.0.weight", "heads.weight"):
        assert not torch.equal(planted[name], soft[name])
        assert not torch.equal(planted[name], first[name])
    assert torch.equal(planted["attentions.0.logits"], soft["attentions.0.logits"])
    assert torch.equal(planted["trunk.1.running_mean"], torch.zeros(6))


def test_experts_nobody_reads_stay_as_they_were_drawn(data, tmp_path, train, tiny_hme):
    student = tiny_hme()
    with torch.no_grad():
        for attention in student.task_attentions():
            attention.logits[:, 1] += 5.0  # nobody will choose expert 0
    decay = {"name": "sgd", "weight_decay": 0.1}
    train(student, data, attention={**TWO, "lr": 0.01}, optimizer=decay, out=tmp_path)
    unread = [(0, 0), (1, 0)]
    planted, trained = read_weights(tmp_path / "checkpoints/epoch-000.safetensors"), student.state_dict()
    for level in range(2):
        for expert in range(2):
            names = [name for name in planted if name.startswith(f"levels.{level}.{expert}.")]
            untouched = all(torch.equal(planted[name], trained[name]) for name in names)
            assert untouched == ((level, expert) in unread)


@pytest.mark.parametrize("stop", [1, 3, 5, 7])
def test_stopped_in_either_stage_and_continued_equals_straight(data, tmp_path, stop, train, stopped, same, tiny_hme):
    """Two epochs of two updates, twice."""
    straight, continued = tiny_hme(), tiny_hme()
    train(straight, data, attention=TWO, out=tmp_path / "straight", save_every=1, **SHORT)
    stopped(stop, train, tiny_hme(), data, attention=TWO, out=tmp_path / "stopped", save_every=1, **SHORT)
    train(continued, data, attention=TWO, out=tmp_path / "stopped", save_every=1, **SHORT)
    assert same(straight.state_dict().values(), continued.state_dict().values())
    once_more = tiny_hme()
    train(once_more, data, attention=TWO, out=tmp_path / "stopped", save_every=1, **SHORT)
    assert same(straight.state_dict().values(), once_more.state_dict().values())


def test_it_is_two_trainings_by_hand(data, train, same, tiny_hme):
    """The first with another seed, then `plant_tree`."""
    student, by_hand = tiny_hme(), tiny_hme()
    train(student, data, attention=TWO, **SHORT)
    train(by_hand, data, **{**SHORT, "attention": {**TWO, "stages": 1}, "seed": derive(4, "soft")})
    plant_tree(by_hand, derive(4, "tree"))
    train(by_hand, data, **SHORT)
    assert same(student.state_dict().values(), by_hand.state_dict().values())


@pytest.mark.parametrize("change", [{"lr": 0.0, "entropy": 0.0}, {"from_epoch": 2}, {"temperature": 0}])
def test_attention_that_never_moved_is_told(data, change, train, tiny_hme):
    with pytest.warns(UserWarning, match=r"never moved: attentions.0 \(2 x 2\), attentions.1 \(5 x 2\). The tree read"):
        train(tiny_hme(), data, attention={**TWO, **change}, **SHORT)


def test_attention_that_moved_is_not(data, train, tiny_hme):
    student = tiny_hme()
    with warnings.catch_warnings(action="error"):
        train(student, data, attention=TWO, **SHORT)
        assert not warn_if_untrained(student)


def test_a_checkpoint_from_before_any_update_is_told(data, tmp_path, train, tiny_hme):
    train(tiny_hme(), data, attention={"from_epoch": 1, "lr": 1.0}, out=tmp_path, **SHORT)
    student = tiny_hme(seed=3)
    for epoch, told in ((1, True), (2, False)):
        student.load_state_dict(read_weights(tmp_path / f"checkpoints/epoch-00{epoch}.safetensors"))
        with warnings.catch_warnings(record=True, action="always") as found:
            assert warn_if_untrained(student, "this checkpoint") == told
        assert [str(w.message).startswith("the attention of this checkpoint never moved") for w in found] == [
            True
        ] * told


def test_with_every_expert_alone_there_is_nothing_to_choose():
    student = load_model("hme_resnet8", classes=3, experts=1)
    with warnings.catch_warnings(action="error"):
        assert not warn_if_untrained(student)


def test_a_frozen_trunk_is_kept(same, tiny_hme):
    student = tiny_hme()
    student.trunk.requires_grad_(False)
    trunk = copy.deepcopy(student.trunk.state_dict())
    with pytest.warns(UserWarning, match="never moved"):
        plant_tree(student, 0)
    assert same(trunk.values(), student.trunk.state_dict().values())
    assert not any(parameter.requires_grad for parameter in student.trunk.parameters())


def test_the_global_random_state_is_left_alone(tiny_hme):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    student = tiny_hme()
    with pytest.warns(UserWarning, match="never moved"):
        plant_tree(student, 0)
    assert torch.equal(torch.rand(1), expected)


def test_a_layer_that_cannot_be_drawn_is_named(tiny_hme):
    student = tiny_hme()
    student.trunk.add_module("token", torch.nn.Module())
    student.trunk.token.register_parameter("weight", torch.nn.Parameter(torch.zeros(2)))
    with (
        pytest.warns(UserWarning, match="never moved"),
        pytest.raises(ModelError, match=r'"trunk.token" \(Module\) has para'),
    ):
        plant_tree(student, 0)


def test_generations_have_two_stages_each(data, tmp_path, tiny_hme):
    options = {"method": "self-distillation", "attention": TWO, "out": tmp_path, **SHORT}
    result = distill(None, tiny_hme(), data, **options)
    assert [earlier.folder.name for earlier in result.earlier] == ["generation-0", "soft"]
    assert (tmp_path / "earlier/generation-0/earlier/soft/student.safetensors").is_file()


def test_who_has_no_tree_is_refused(make_network, data, train, tiny_hme, vam_network):
    with pytest.raises(ConfigError, match="virtual attention has no tree to train again: its blocks stay"):
        train(vam_network(), data, attention={"stages": 2})
    with pytest.raises(ConfigError, match="attention is set, but the student"):
        train(make_network(4), data, attention={"stages": 2})
    with pytest.raises(ConfigError, match=r"the student \(Sequential\) is none; take a kdlens.nn.HME"):
        plant_tree(make_network(4), 0)
    with pytest.raises(ConfigError, match=r"attention\.stages is 1 or 2, not 3"):
        train(tiny_hme(), data, attention={"stages": 3})
