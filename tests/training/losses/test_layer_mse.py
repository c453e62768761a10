"""Matching one layer, then the rest on the labels: the loss by hand, what is frozen, and the two phases."""

import copy

import pytest
import torch
from torch import nn

from kdlens.errors import ConfigError, LayerNotFoundError, LayerShapeError
from kdlens.models.history import read_history
from kdlens.models.upstream import upstream
from kdlens.models.weights import read_weights
from kdlens.training.api import distill
from kdlens.training.losses.layer_mse import LayerMSE, layer_distance
from kdlens.training.run import train_from_config


def network(seed=0, width=4, classes=3):
    """Stem and head with norm layers of both kinds; `plain` has statistics and no parameters."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = nn.Sequential()
        parts.add_module("conv", nn.Conv2d(3, width, 3, padding=1))
        parts.add_module("norm", nn.BatchNorm2d(width))
        parts.add_module("relu", nn.ReLU(inplace=True))
        parts.add_module("plain", nn.BatchNorm2d(width, affine=False))
        parts.add_module("second", nn.Conv2d(width, 6, 3, stride=2))
        parts.add_module("bn", nn.BatchNorm2d(6))
        parts.add_module("act", nn.ReLU())
        parts.add_module("flat", nn.Flatten())
        parts.add_module("drop", nn.Dropout(0.3))
        parts.add_module("fc", nn.Linear(6 * 9, classes))
        return parts


def data(count=24):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, 8, 8, generator=generator), torch.arange(count) % 3


def train(student, teacher=None, **options):
    settings = {"epochs": 4, "batch_size": 8, "path_layers": ["conv", "fc"], "seed": 1, **options}
    return distill(teacher or network(1), student, data(), method="layer-mse", **settings)


def test_the_loss_by_hand():
    """Student layer (1, 2; 3, -4), teacher layer (1, 0; 0, -2): squares 0, 4, 9, 4 over 4 numbers."""
    mine, theirs = torch.tensor([[1.0, 2.0], [3.0, -4.0]]), torch.tensor([[1.0, 0.0], [0.0, -2.0]])
    assert layer_distance(mine, theirs).item() == 17 / 4


def test_the_loss_of_a_linear_network_and_its_first_step_by_hand():
    """One unit of weight 2 against one of weight 5 on the inputs 1 and 3: mean of 9 and 81, gradient -30."""

    def linear(weight):
        net = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2))
        nn.init.constant_(net[1].weight, weight)
        return net

    student, images = linear(2.0), (torch.tensor([1.0, 3.0]).view(2, 1, 1, 1), torch.tensor([0, 1]))
    head = copy.deepcopy(student[3].state_dict())
    options = {"optimizer": {"name": "sgd", "lr": 0.01, "momentum": 0.0, "weight_decay": 0.1}, "schedule": "constant"}
    options |= {"epochs": 2, "layer": "1", "match_epochs": 2, "path_layers": ["1"]}
    result = distill(linear(5.0), student, images, method="layer-mse", **options)
    assert result.history[0]["loss_match"] == result.history[0]["loss"] == 45.0
    after = 2.0 - 0.01 * (-30 + 0.1 * 2.0)
    assert result.history[1]["loss_match"] == pytest.approx((5 - after) ** 2 * 5, rel=1e-6)
    assert result.path_lengths.per_step[1, 0] == pytest.approx(0.298, rel=1e-5)
    assert all(torch.equal(head[name], tensor) for name, tensor in student[3].state_dict().items())  # nor by decay


def test_matching_finds_the_teachers_layer_where_it_can():
    """Least squares: with the first layer alone to learn, the student's weights become the teacher's."""
    teacher, student = (nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)) for _ in range(2))
    images = (torch.randn(64, 3, 1, 1, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 2)
    optimizer = {"name": "sgd", "lr": 0.5, "momentum": 0.9, "weight_decay": 0.0}
    options = {"epochs": 300, "match_epochs": 300, "batch_size": 64, "optimizer": optimizer, "path_layers": ()}
    distill(teacher, student, images, method="layer-mse", layer="1", schedule="constant", **options)
    torch.testing.assert_close(student[1].weight, teacher[1].weight, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(student[1].bias, teacher[1].bias, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("layer", "modules", "last"),
    [("conv", [], "conv"), ("norm", ["norm"], "norm"), ("second", ["norm", "plain"], "second"), ("fc", None, "fc")],
)
def test_everything_up_to_the_layer_and_nothing_else(layer, modules, last):
    net = network()
    found = upstream(net, layer, torch.zeros(1, 3, 8, 8))
    names = [name for name, _ in net.named_children()]
    before = set(names[: names.index(last) + 1])
    assert found.parameters == {name for name, _ in net.named_parameters() if name.split(".")[0] in before}
    assert sorted(found.modules) == (["bn", "norm", "plain"] if modules is None else modules)


def test_a_branch_beside_the_layer_is_not_up_to_it():
    class Branched(nn.Module):
        def __init__(self):
            super().__init__()
            self.side, self.main, self.head = nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 2)
            self.token = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            side = self.side(x)
            return self.head(self.main(x + self.token) + side)

    assert upstream(Branched(), "main", torch.ones(1, 3)).parameters == {"main.weight", "main.bias", "token"}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_second_phase_changes_what_comes_after_the_layer_and_nothing_else(optimizer, tmp_path):
    student = network()
    options = {"layer": "second", "match_epochs": 2, "record_epochs": "all", "out": tmp_path / "run"}
    result = train(student, optimizer={"name": optimizer, "lr": 0.01}, **options)
    start, second, third, end = (
        read_weights(tmp_path / f"run/checkpoints/epoch-00{epoch}.safetensors") for epoch in (0, 2, 3, 4)
    )
    for name in start:
        ours = name.split(".")[0] in ("conv", "norm", "plain", "second")
        assert torch.equal(second[name], third[name]) == ours, name
        assert torch.equal(second[name], end[name]) == ours, name
        buffer = name.startswith("bn.") and "weight" not in name and "bias" not in name
        assert torch.equal(start[name], second[name]) == (not ours and not buffer), name
    assert [sorted(k for k in row if k.startswith("loss_")) for row in result.history] == [
        ["loss_match"],
        ["loss_match"],
        ["loss_labels"],
        ["loss_labels"],
    ]
    steps = result.path_lengths.per_step
    assert steps[1, 0] > 0
    assert steps[2, 0] == steps[3, 0] == steps[4, 0]  # the convolution stands still
    assert steps[2, 1] == 0 < steps[3, 1]  # and the head begins


def test_afterwards_everything_can_be_trained_that_could(tmp_path):
    student = network()
    student.bn.weight.requires_grad_(False)
    train(student, layer="second", match_epochs=2)
    assert {name for name, p in student.named_parameters() if not p.requires_grad} == {"bn.weight"}
    assert not student.training

    def stop(event):
        if event.kind == "step" and event.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(student, layer="second", match_epochs=2, progress=stop)
    assert {name for name, p in student.named_parameters() if not p.requires_grad} == {"bn.weight"}


def test_the_logits_are_matched_alone():
    student = network()
    result = train(student, layer="fc", match_epochs=1)
    assert all("loss_labels" not in row for row in result.history)
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_each_phase_runs_through_the_schedule_with_its_own_learning_rate():
    options = {"epochs": 10, "batch_size": 24, "layer": "second", "schedule": "cosine"}
    result = train(network(), optimizer={"name": "sgd", "lr": 0.2}, fine_tune_lr=0.01, **options)
    rates = [row["lr"] for row in result.history]
    assert result.loss.options["match_epochs"] == 6
    assert rates[0] == 0.2
    assert rates[6] == 0.01
    assert rates[:6] == sorted(rates[:6], reverse=True)
    assert rates[5] < 0.05
    assert rates[9] < 0.0025


@pytest.mark.parametrize("stop", [1, 5, 6, 7, 9])
@pytest.mark.parametrize(("optimizer", "precision"), [("sgd", "no"), ("adam", "fp16"), ("adamw", "bf16")])
def test_stopped_in_either_phase_and_continued_equals_straight(stop, optimizer, precision, tmp_path):
    """Three steps an epoch, two epochs a phase, a state after every step."""

    class StopError(Exception):
        pass

    def listener(event):
        if event.kind == "step" and event.epoch * 3 + event.step == stop:
            raise StopError

    options = {"layer": "second", "match_epochs": 2, "optimizer": optimizer, "precision": precision, "save_every": 1}
    straight = train(network(), out=tmp_path / "straight", clip=1.0, **options)
    with pytest.raises(StopError):
        train(network(), out=tmp_path / "stopped", clip=1.0, progress=listener, **options)
    continued = train(network(), out=tmp_path / "stopped", clip=1.0, **options)
    for one, other in zip(straight.network.state_dict().values(), continued.network.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(straight.path_lengths.per_step, continued.path_lengths.per_step)
    assert torch.equal(straight.path_lengths.per_epoch, continued.path_lengths.per_epoch)


def test_remembered_teachers_teach_alike():
    nets = [network(), network()]
    for net, cached in zip(nets, (False, True), strict=True):
        train(net, layer="second", cache_teacher=cached, channels_last=False)
    for one, other in zip(nets[0].state_dict().values(), nets[1].state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)


def test_auto_takes_the_last_map_before_its_relu(make_network):
    def chosen(net, size):
        return LayerMSE().layers(net, copy.deepcopy(net), torch.zeros(1, 3, size, size)).student

    assert chosen(make_network(4), 16) == ("layer2.1",)
    assert chosen(network(), 8) == ("bn",)


def test_the_teachers_layer_may_have_another_name():
    teacher = nn.Sequential(nn.Identity(), network(1))
    pair = LayerMSE(layer="bn", teacher_layer="1.bn").layers(network(), teacher, torch.zeros(1, 3, 8, 8))
    assert (pair.student, pair.teacher) == (("bn",), ("1.bn",))
    with pytest.raises(LayerNotFoundError, match="bn"):
        LayerMSE(layer="bn").layers(network(), teacher, torch.zeros(1, 3, 8, 8))


class Block(nn.Module):
    """A block whose ReLU is a function, which only its output shows."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(x).relu()


def test_behind_a_relu_is_refused_by_name_unless_asked_for():
    def blocky(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(Block(), nn.Flatten(), nn.Linear(144, 3))

    for layer, message in (("relu", 'layer "relu" of the student ends in ReLU'), ("act", "ends in ReLU")):
        with pytest.raises(LayerShapeError, match=message):
            train(network(), layer=layer)
    with pytest.raises(
        LayerShapeError, match=r'layer "0" of the student gives zeros and no negative number.*after_relu=True'
    ):
        train(blocky(0), blocky(1), layer="0", path_layers=())
    result = train(blocky(0), blocky(1), layer="0", path_layers=(), after_relu=True)
    assert "loss_labels" in result.history[-1]
    assert "loss_match" in train(network(), layer="act", after_relu=True).history[0]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"layer": "second", "match_epochs": 5}, ConfigError, "match_epochs=5 is more than the 4 epochs"),
        ({"layer": "second", "match_epochs": 0}, ConfigError, "match_epochs must be at least 1, not 0"),
        ({"layer": "second", "fine_tune_lr": 0.0}, ConfigError, "fine_tune_lr must be positive"),
        ({"layer": ["conv", "second"]}, ConfigError, "layer is one dotted name"),
        ({"layer": "secnod"}, LayerNotFoundError, 'did you mean "second"'),
        ({"layer": "second", "epochs": 1}, ConfigError, "has two phases: train for 2 epochs or more"),
    ],
)
def test_what_makes_no_sense_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        train(network(), **options)


def test_other_widths_are_sent_to_fitnet():
    with pytest.raises(
        LayerShapeError, match=r'student\'s gives \(2, 4, 8, 8\) and the teacher\'s \(2, 5, 8, 8\).*"fitnet"'
    ):
        train(network(), network(1, width=5), layer="norm")


def test_a_student_that_is_frozen_up_to_the_layer_has_nothing_to_match():
    student = network()
    student.conv.requires_grad_(False)
    with pytest.raises(ConfigError, match='nothing up to layer "conv" of the student can be trained'):
        train(student, layer="conv")


def test_from_a_train_yaml(tmp_path):
    (tmp_path / "train.yaml").write_text("""
data: {name: fashion, limit: 60}
validation: null
teacher: {arch: "zoo:cnn8"}
student: {arch: "zoo:cnn8"}
method: {name: layer-mse, layer: layer3.2, fine_tune_lr: 0.01}
epochs: 3
record: {epochs: all}
""")
    result = train_from_config(tmp_path / "train.yaml", tmp_path / "out").students[0]
    assert [("loss_match" in row, "loss_labels" in row) for row in result.history] == [(True, False)] * 2 + [
        (False, True)
    ]
    history = read_history(tmp_path / "out").of(result.network)
    assert history.path("layer3")[-1] == history.path("layer3")[-2] > 0
