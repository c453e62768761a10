"""How the attention of a student is trained: rates, temperatures, entropy, waiting, and going on after a stop."""

import copy
import math

import pytest
import torch

from kdlens.errors import ConfigError
from kdlens.models.weights import read_weights
from kdlens.nn import VAM, attention_entropy, attention_modules, attention_parameters
from kdlens.training.api import distill
from kdlens.training.chain import distill_chain

ANNEALED = {"entropy": 0.2, "lr": 0.1, "from_epoch": 1, "temperature": {"start": 2.0, "end": 0.5}}


@pytest.fixture(params=["hme", "vam"])
def student(request, tiny_hme, vam_network):
    return tiny_hme() if request.param == "hme" else vam_network()


def temperatures(network):
    return {module.temperature for _, module in attention_modules(network)}


def test_a_student_without_attention_is_trained_as_ever(data, make_network, tmp_path, train):
    result = train(make_network(4), data, out=tmp_path / "run")
    assert not any("attention" in name for name in result.history[0])
    with pytest.raises(ConfigError, match=r"attention is set, but the student \(Sequential\) has none; put some in"):
        train(make_network(4), data, attention={})


def test_the_entropy_is_a_term_of_any_method_and_lowers_itself(student, data, train):
    before = copy.deepcopy(student)
    plain = train(before, data)
    result = train(student, data, attention={"entropy": 30.0, "lr": 0.5})
    assert attention_entropy(student) < attention_entropy(before)
    for row in result.history:
        terms = sum(value for name, value in row.items() if name.startswith("loss_"))
        assert row["loss"] == pytest.approx(terms)
    assert result.history[0]["loss_attention_entropy"] > 30 * result.history[-1]["attention_entropy"]
    assert "loss_attention_entropy" not in plain.history[0]


def test_the_term_is_gamma_times_the_entropy(student, data, train):
    row = train(student, data, epochs=1, attention={"entropy": 0.25, "lr": 0.0}).history[0]
    assert row["loss_attention_entropy"] == pytest.approx(0.25 * attention_entropy(student).item())


def test_logits_have_no_weight_decay_unless_asked(student, data, train, logits_of):
    with torch.no_grad():
        for parameter in attention_parameters(student):
            parameter.copy_(torch.arange(parameter.numel()).view_as(parameter))
    decayed, heavy = copy.deepcopy(student), {"name": "sgd", "lr": 1e-5, "weight_decay": 1e4, "momentum": 0.0}
    before = logits_of(student)
    train(student, data, optimizer=heavy, schedule="constant")
    train(decayed, data, optimizer=heavy, schedule="constant", attention={"weight_decay": 1e4})
    for start, plain, shrunk in zip(before, logits_of(student), logits_of(decayed), strict=True):
        torch.testing.assert_close(plain, start, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(shrunk, start * 0.9**6, rtol=1e-2, atol=1e-2)  # (1 - lr x decay) at 6 updates


def test_logits_have_a_rate_of_their_own_that_follows_the_schedule(student, data, train, logits_of):
    """Plain SGD moves by rate times gradient: with one update, ten times the rate is ten times the way."""
    sgd = {"name": "sgd", "lr": 0.01, "momentum": 0.0, "weight_decay": 0.0}
    ways = []
    for lr in (None, 0.1):
        copied = copy.deepcopy(student)
        before = logits_of(copied)
        options = {"epochs": 1, "batch_size": 40, "optimizer": sgd, "schedule": {"name": "constant", "warmup": 1}}
        train(copied, data, attention={"lr": lr}, **options)
        ways.append([after - start for start, after in zip(before, logits_of(copied), strict=True)])
    for slow, fast in zip(*ways, strict=True):
        torch.testing.assert_close(fast, 10 * slow, rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_logits_wait(student, data, optimizer, train, logits_of, same):
    before = logits_of(student)
    train(student, data, epochs=2, optimizer=optimizer, attention={"from_epoch": 2, "entropy": 1.0})
    assert same(before, logits_of(student))
    train(student, data, epochs=3, optimizer=optimizer, attention={"from_epoch": 2, "entropy": 1.0})
    assert not same(before, logits_of(student))
    assert all(parameter.requires_grad for parameter in student.parameters())


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (None, [1.0, 1.0, 1.0]),
        (0.5, [0.5, 0.5, 0.5]),
        ({"start": 2.0, "end": 0.5}, [2.0, 1.0, 0.5]),
        ({"start": 6.0, "schedule": "inverse"}, [6.0, 3.0, 2.0]),
    ],
)
def test_the_temperature_is_a_function_of_the_epoch(student, data, temperature, expected, tmp_path, train):
    result = train(student, data, attention={"temperature": temperature}, out=tmp_path, record_epochs="all")
    assert [row["attention_temperature"] for row in result.history] == pytest.approx(expected)
    (last,) = temperatures(student)
    assert last == pytest.approx(expected[-1])


@pytest.mark.parametrize("stop", [1, 3, 5])
@pytest.mark.parametrize("more", [{}, {"precision": "bf16", "clip": 0.5, "optimizer": "adam"}])
def test_stopped_and_continued_equals_straight(student, data, stop, more, tmp_path, train, stopped, same):
    options = {"attention": ANNEALED, "save_every": 1, **more}
    straight, started, continued = student, copy.deepcopy(student), copy.deepcopy(student)
    first = train(straight, data, out=tmp_path / "straight", **options)
    stopped(stop, train, started, data, out=tmp_path / "stopped", **options)
    second = train(continued, data, out=tmp_path / "stopped", **options)
    assert same(straight.state_dict().values(), continued.state_dict().values())
    assert temperatures(straight) == temperatures(continued) == {0.5}
    assert [row["loss"] for row in first.history] == [row["loss"] for row in second.history]


def test_a_finished_training_comes_back_with_its_temperature(student, data, tmp_path, train):
    again = copy.deepcopy(student)
    for network in (student, again):
        train(network, data, out=tmp_path, attention=ANNEALED)
    assert temperatures(again) == {0.5}
    images = data[0][:4]
    torch.testing.assert_close(student(images), again(images), rtol=0, atol=0)


def test_other_attention_is_another_training(student, data, tmp_path, train):
    again = copy.deepcopy(student)
    train(student, data, out=tmp_path)
    with pytest.raises(OSError, match=r"training\.attention\.entropy was 0\.0, now 0\.1"):
        train(again, data, out=tmp_path, attention={"entropy": 0.1})


def test_another_temperature_of_the_network_is_another_training(make_network, data, tmp_path, train, vam_network):
    train(vam_network(), data, out=tmp_path)
    with pytest.raises(OSError, match=r"training\.attention\.temperature was 1\.0, now 0\.5"):
        train(vam_network(temperature=0.5), data, out=tmp_path)


def test_phases_of_a_method_leave_a_rate_of_its_own_alone(make_network, data, logits_of, vam_network):
    """layer-mse fine-tunes what follows the layer with a rate of its own; here attention lies behind the layer."""
    moved = []
    for lr in (1e-6, 0.05):
        student = vam_network(where=["layer2.0"])
        before = logits_of(student)
        teacher = make_network(4, seed=1)
        phases = {"layer": "layer1.0", "match_epochs": 1, "fine_tune_lr": 0.05}
        distill(teacher, student, data, method="layer-mse", epochs=2, attention={"lr": lr}, batch_size=20, **phases)
        moved.append((logits_of(student)[0] - before[0]).abs().max())
    assert moved[0] < 1e-4 < moved[1]


def test_attention_up_to_a_matched_layer_is_frozen_with_it(make_network, data, tmp_path, vam_network):
    student = vam_network(where=["layer2.0"])
    options = {"method": "layer-mse", "layer": "layer2.0", "epochs": 2, "match_epochs": 1, "batch_size": 20}
    distill(make_network(4, seed=1), student, data, out=tmp_path, record_epochs="all", **options)
    after_1, after_2 = (read_weights(tmp_path / f"checkpoints/epoch-00{epoch}.safetensors") for epoch in (1, 2))
    assert torch.equal(after_1["layer2.0.vam_logits"], after_2["layer2.0.vam_logits"])
    assert after_1["layer2.0.vam_logits"].abs().max() > 0


def test_hard_attention_from_the_start_trains_the_one_tree(data, train, logits_of, same, tiny_hme):
    student = tiny_hme()
    before, read = logits_of(student), []
    train(student, data, attention={"temperature": 0})
    read = student.experts_read()
    assert same(before, logits_of(student))
    assert all(experts for experts in read)


def test_in_a_chain_it_is_for_those_that_have_some(make_network, data, tiny_hme):
    chain = [make_network(8, seed=1), make_network(6, seed=2), tiny_hme()]
    result = distill_chain(chain, data, epochs=1, attention={"temperature": 0.5})
    assert result.history[0]["attention_temperature"] == 0.5
    assert "attention_temperature" not in result.earlier[0].history[0]
    with pytest.raises(ConfigError, match="attention is set, but the student"):
        distill_chain(chain[:2], data, epochs=1, attention={"temperature": 0.5})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entropie": 1}, r'attention has no option "entropie"; did you mean "entropy"\?'),
        ({"entropy": -1}, "attention.entropy must be a number of at least 0, not -1"),
        ({"entropy": math.nan}, "attention.entropy must be a number of at least 0, not nan"),
        ({"lr": "fast"}, "attention.lr must be a number of at least 0, not fast"),
        ({"weight_decay": True}, "attention.weight_decay must be a number"),
        ({"from_epoch": 1.5}, "attention.from_epoch is a number of epochs, not 1.5"),
        ({"temperature": -1}, "attention.temperature must be a number of at least 0, not -1"),
        ({"temperature": 0}, "attention.temperature is 0, which is for mixtures of experts"),
        ({"temperature": {"start": 5}}, r"attention.temperature.end must be a positive number, not None; write"),
        ({"temperature": {"start": 0, "end": 1}}, "attention.temperature.start must be a positive number, not 0"),
        ({"temperature": {"start": 5, "schedule": "linear"}}, 'schedule is "geometric" or "inverse", not "linear"'),
        ({"temperature": {"strat": 5}}, r'attention.temperature has no option "strat"; did you mean "start"\?'),
        ({"temperature": {"start": 5, "end": 1, "schedule": "inverse"}}, 'has no option "end"'),
        (0.1, r'attention is a mapping of options, e.g. \{"entropy": 0.1\}, not 0.1'),
    ],
)
def test_senseless_options_are_refused(make_network, data, options, message, train, vam_network):
    with pytest.raises(ConfigError, match=message):
        train(vam_network(), data, attention=options)


def test_folding_after_training_keeps_what_was_learned(make_network, data, train, vam_network):
    student = vam_network()
    train(student, data, attention={"lr": 1.0, "entropy": 1.0, "temperature": {"start": 1.0, "end": 0.3}})
    images = data[0][:4]
    before = student(images)
    VAM(student).fold()
    torch.testing.assert_close(student(images), before, rtol=1e-4, atol=1e-5)
