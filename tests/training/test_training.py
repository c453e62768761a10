"""A training against a loop written by hand, and what it must leave alone."""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import kdlens.training.trainer
from kdlens.errors import ConfigError, DataError, KdlensError, LayerNotFoundError, ModelError, UnknownNameError
from kdlens.models.load import load_model
from kdlens.models.weights import read_weights
from kdlens.training.api import distill
from kdlens.training.batches import epoch_order, split
from kdlens.training.losses import LOSSES
from kdlens.training.optimizers import make_optimizer, resolve_optimizer
from kdlens.training.watch import TrainingDivergedError

SGD = {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def train_by_hand(teacher, student, images, labels, *, epochs, batch_size, temperature, alpha):
    """Hinton's distillation as anyone would write it; also the path of layer2 by step and by epoch."""
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    teacher.eval()
    student.train()
    layer = list(student.layer2.parameters())
    flat = lambda: torch.cat([p.detach().flatten() for p in layer]).double()  # noqa: E731
    start = flat()
    per_step, per_epoch = [0.0], [0.0]
    for epoch in range(epochs):
        begin, steps = flat(), 0.0
        for indices in split(epoch_order(len(labels), seed=3, epoch=epoch), batch_size):
            before = flat()
            mine = student(images[indices])
            with torch.no_grad():
                theirs = teacher(images[indices])
            soft = F.kl_div(
                F.log_softmax(mine / temperature, 1), F.softmax(theirs / temperature, 1), reduction="batchmean"
            )
            loss = (1 - alpha) * F.cross_entropy(mine, labels[indices]) + alpha * temperature**2 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += (flat() - before).norm().item()
        per_step.append(per_step[-1] + steps)
        per_epoch.append(per_epoch[-1] + (flat() - begin).norm().item())
    return per_step, per_epoch, start.norm().item()


def test_it_is_the_loop_written_by_hand(data, make_network):
    teacher, student, by_hand = make_network(8, seed=1), make_network(4), make_network(4)
    result = distill(
        teacher,
        student,
        data,
        method="kd",
        temperature=3.0,
        alpha=0.7,
        epochs=3,
        batch_size=12,
        optimizer=SGD,
        schedule="constant",
        seed=3,
        path_layers=["layer2", "fc"],
    )
    per_step, per_epoch, norm = train_by_hand(
        teacher, by_hand, *data, epochs=3, batch_size=12, temperature=3.0, alpha=0.7
    )
    for name, tensor in by_hand.state_dict().items():
        torch.testing.assert_close(student.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    assert result.path_lengths.per_step[:, 0].tolist() == pytest.approx(per_step, rel=1e-4)
    assert result.path_lengths.per_epoch[:, 0].tolist() == pytest.approx(per_epoch, rel=1e-4)
    assert result.path_lengths.initial_norm[0].item() == pytest.approx(norm, rel=1e-6)
    assert (result.path_lengths.per_step >= result.path_lengths.per_epoch - 1e-9).all()


AT_ONE_TEMPERATURE = {"binary-kd": {"temperature": 1.0}}
"""At T > 1 a perfect student of yes-no tasks has logits T r(T), surer than the labels' term likes; at 1 both agree."""


@pytest.mark.parametrize("method", LOSSES.names())
def test_every_method_lowers_its_loss(method, make_network, make_data):
    data = make_data(60)
    width = 4 if method == "layer-mse" else 8  # it compares layers of one width
    teacher = None if method == "self-distillation" else make_network(width, seed=1)
    if teacher is not None:
        distill(None, teacher, data, method="labels", epochs=4, batch_size=20)
    student = make_network(8 if method == "self-distillation" else 4)
    options = AT_ONE_TEMPERATURE.get(method, {})
    result = distill(teacher, student, data, method=method, epochs=6, batch_size=20, optimizer=SGD, **options)
    phases = [list(rows) for _, rows in itertools.groupby(result.history, key=lambda row: "loss_labels" in row)]
    for rows in phases:  # one, but for a method that begins without the labels
        assert rows[-1]["loss"] < (0.9 if len(phases) == 1 else 1.0) * rows[0]["loss"]
    assert phases[-1][-1]["loss_labels"] < phases[-1][0]["loss_labels"]
    assert result.network is student
    assert not student.training


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_first_stage_on_the_hint_alone_leaves_the_head_alone(optimizer, data, make_network, tmp_path):
    student = make_network(4)
    head, out = student.fc.weight.clone(), tmp_path / "run"
    options = {"method": "fitnet", "hint_epochs": 1, "epochs": 2, "optimizer": optimizer, "record_epochs": "all"}
    result = distill(make_network(8, seed=1), student, data, out=out, **options)
    first = read_weights(out / "checkpoints/epoch-001.safetensors")
    assert torch.equal(first["fc.weight"], head)
    assert not torch.equal(student.fc.weight, head)
    assert "loss_labels" not in result.history[0]
    assert "loss_labels" in result.history[1]


def test_momentum_from_zero_is_torchs_momentum():
    start = torch.randn(3, 2)
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    mine = make_optimizer(resolve_optimizer(SGD), [ours])
    plain = torch.optim.SGD([theirs], lr=0.05, momentum=0.9, weight_decay=5e-4)
    for _ in range(3):
        for optimizer, parameter in ((mine, ours), (plain, theirs)):
            parameter.grad = torch.sin(parameter.detach())
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("method", ["kd", "fitnet", "at"])
def test_the_teacher_comes_back_as_it_was(method, data, make_network):
    teacher = make_network(8, seed=1).train()
    teacher.layer1.eval()
    before, modes = weights(teacher), [m.training for m in teacher.modules()]
    distill(teacher, make_network(4), data, method=method, epochs=2)
    assert same(before, weights(teacher))
    assert modes == [m.training for m in teacher.modules()]
    assert all(p.grad is None and p.requires_grad for p in teacher.parameters())
    assert all(not m._forward_hooks and not m._forward_pre_hooks for m in teacher.modules())


def test_hooks_are_gone_and_the_random_state_is_back_also_after_an_interruption(data, make_network):
    teacher, student = make_network(8, seed=1), make_network(4, dropout=0.5)
    torch.manual_seed(5)
    expected = torch.random.get_rng_state()

    def stop(event):
        if event.kind == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(teacher, student, data, method="at", epochs=1, progress=stop)
    assert torch.equal(torch.random.get_rng_state(), expected)
    for network in (teacher, student):
        assert all(not m._forward_hooks and not m._forward_pre_hooks for m in network.modules())


def test_the_teacher_matters_and_so_does_its_absence(data, make_network):
    outcomes = []
    for teacher_seed, method in ((1, "kd"), (2, "kd"), (1, "labels")):
        student = make_network(4)
        distill(make_network(8, seed=teacher_seed), student, data, method=method, epochs=1)
        outcomes.append(student.fc.weight.detach())
    assert not torch.allclose(outcomes[0], outcomes[1])
    assert not torch.allclose(outcomes[0], outcomes[2])


def test_the_seed_decides_and_the_global_random_state_does_not(data, make_network):
    students = []
    for seed, disturbance in ((0, 1), (0, 2), (1, 1)):
        student = make_network(4, dropout=0.5)
        torch.manual_seed(disturbance)
        distill(None, student, data, method="labels", epochs=2, augment="crop-flip", seed=seed, batch_size=16)
        students.append(weights(student))
    assert same(students[0], students[1])
    assert not same(students[0], students[2])


@pytest.mark.parametrize("method", ["kd", "fitnet"])
def test_remembered_teacher_outputs_belong_to_their_images(method, data, make_network):
    """Published scripts have mixed them up with the shuffled batches."""
    teacher = make_network(8, seed=1)
    live, cached = make_network(4), make_network(4)
    options = {"method": method, "epochs": 2, "batch_size": 12}
    first = distill(teacher, live, data, **options)
    second = distill(teacher, cached, data, cache_teacher=True, **options)
    for name, tensor in live.state_dict().items():
        torch.testing.assert_close(cached.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    assert first.history[-1]["loss"] == pytest.approx(second.history[-1]["loss"], rel=1e-4)


def test_remembering_and_augmenting_exclude_each_other(data, make_network):
    with pytest.raises(ConfigError, match='augment="flip" changes images anew every time'):
        distill(make_network(8), make_network(4), data, cache_teacher=True, augment="flip")


def test_remembering_runs_the_teacher_once_an_image(data, make_network):
    teacher, seen = make_network(8), []
    teacher.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    distill(teacher, make_network(4), data, epochs=5, cache_teacher=True)
    assert sum(seen) <= len(data[1]) + 4  # and two images to look at layout and shapes


@pytest.mark.parametrize("count", [1, 2, 17, 33])
@pytest.mark.parametrize("method", ["labels", "fitnet"])
def test_any_number_of_images_will_do(count, method, make_network, make_data):
    result = distill(make_network(8), make_network(4), make_data(count), method=method, epochs=2, batch_size=16)
    assert all(torch.isfinite(p).all() for p in result.network.parameters())


def test_batches_of_one_image_will_do(make_network, make_data):
    result = distill(make_network(8), make_network(4), make_data(3), epochs=1, batch_size=1)
    assert len(result.history) == 1


class Overflows(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network, self.calls = network, 0

    def forward(self, x):
        self.calls += self.training
        return self.network(x) * (float("inf") if self.calls == 4 else 1.0)


def test_a_loss_that_is_no_number_stops_the_training_and_names_itself(data, make_network):
    with pytest.raises(TrainingDivergedError, match=r'term "labels" of the loss became nan in epoch 2, step 1'):
        distill(None, Overflows(make_network(4)), data, method="labels", epochs=3, batch_size=16)


def test_weights_that_are_no_numbers_are_never_stored(data, make_network, tmp_path):
    """The very last update can break the weights without any loss having seen it."""
    student = make_network(4)

    def spoil(event):
        if event.kind == "step" and event.epoch == 1 and event.step == event.steps:
            student.fc.bias.data.fill_(float("nan"))

    with pytest.raises(TrainingDivergedError, match=r'weights "fc.bias" became NaN or infinite in epoch 2'):
        distill(None, student, data, method="labels", epochs=2, out=tmp_path / "run", progress=spoil)
    assert not (tmp_path / "run/student.safetensors").exists()
    resumed = distill(None, make_network(4), data, method="labels", epochs=2, out=tmp_path / "run")
    assert all(torch.isfinite(p).all() for p in resumed.network.parameters())


class NoMemory(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        if self.training:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte"
            )
        return self.network(x)


def test_running_out_of_memory_says_what_to_do(data, make_network):
    with pytest.raises(KdlensError, match="out of memory with batches of 32 images; choose a smaller batch_size"):
        distill(None, NoMemory(make_network(4)), data, method="labels", epochs=1, batch_size=32)


def test_batchnorm_over_a_single_value_says_what_to_do(make_network, make_data):
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 4), nn.BatchNorm1d(4), nn.Linear(4, 5))
    with pytest.raises(ConfigError, match="every process needs at least two images"):
        distill(None, network, make_data(4), method="labels", epochs=1, batch_size=1)


@pytest.mark.parametrize(
    ("method", "student", "teacher"),
    [
        ("at", "vit_tiny_cifar", "resnet8"),
        ("at", "resnet8", "vit_tiny_cifar"),
        ("fitnet", "vit_tiny_cifar", "vit_tiny_cifar"),
        ("kd", "vit_tiny_cifar", "resnet8"),
    ],
)
def test_token_networks_teach_and_learn(method, student, teacher, make_data):
    networks = []
    for seed, name in enumerate((teacher, student)):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            networks.append(load_model(name, classes=5))
    result = distill(*networks, make_data(4, size=32), method=method, epochs=1)
    assert torch.isfinite(torch.tensor(result.history[0]["loss"]))


def test_the_history_tells_every_term_and_the_validation(data, make_network, make_data):
    result = distill(
        make_network(8), make_network(4), data, method="fitnet", epochs=2, validation=make_data(30, seed=9)
    )
    row = result.history[-1]
    assert list(row) == [
        *("epoch", "lr", "loss", "loss_hint", "loss_labels", "top1"),
        *("validation_top1", "validation_nll", "seconds"),
    ]
    assert row["loss"] == pytest.approx(row["loss_hint"] + row["loss_labels"])
    assert result.to_frame().shape == (2, 9)
    assert "2 epochs: loss" in repr(result)


def test_validation_numbers_are_those_of_the_network(data, make_network, make_data):
    images, labels = make_data(30, seed=9)
    result = distill(None, make_network(4), data, method="labels", epochs=2, validation=(images, labels))
    with torch.no_grad():
        logits = result.network(images)
    assert result.history[-1]["validation_nll"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.history[-1]["validation_top1"] == pytest.approx(100 * (logits.argmax(1) == labels).float().mean())


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"precision": "fp16"}, {"channels_last": True}])
@pytest.mark.parametrize("method", ["kd", "at", "fitnet"])
def test_precisions_and_layouts_train(method, options, data, make_network):
    student = make_network(4)
    result = distill(make_network(8, seed=1), student, data, method=method, epochs=4, batch_size=20, **options)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in student.parameters())


def test_clipping_bounds_the_first_step(data, make_network):
    student = make_network(4, norm=False)
    result = distill(
        None,
        student,
        data,
        method="labels",
        epochs=1,
        batch_size=40,
        clip=1e-3,
        optimizer={"name": "sgd", "lr": 1.0, "momentum": 0.0, "weight_decay": 0.0},
        path_layers=["layer1", "layer2", "fc"],
    )
    assert 0 < result.path_lengths.per_step[-1].norm() <= 1.001e-3


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_optimizers_by_name(optimizer, data, make_network):
    result = distill(None, make_network(4), data, method="labels", epochs=4, batch_size=20, optimizer=optimizer)
    assert result.history[-1]["loss"] < result.history[0]["loss"]


def test_frozen_parts_of_the_student_stay(data, make_network):
    student = make_network(4)
    student.layer1[0].weight.requires_grad_(False)
    before = student.layer1[0].weight.clone()
    distill(None, student, data, method="labels", epochs=1)
    assert torch.equal(student.layer1[0].weight, before)


def test_the_students_own_copy_is_not_needed_by_a_user_who_gives_layers(data, make_network):
    result = distill(
        make_network(8), make_network(4), data, method="at", epochs=1, student_layers="layer2", teacher_layers="layer2"
    )
    assert "loss_attention" in result.history[0]


def call(**changes):
    return lambda make_network, data: distill(
        **{"teacher": make_network(8), "student": make_network(4), "train_data": data, "epochs": 1, **changes}
    )


@pytest.mark.parametrize(
    ("run", "kind", "message"),
    [
        (call(method="kdd"), UnknownNameError, 'unknown method "kdd"; did you mean "kd"'),
        (call(temprature=2), ConfigError, 'method "kd" has no option "temprature"; did you mean "temperature"'),
        (call(teacher=None), ConfigError, 'method "kd" learns from a teacher; give one, or train with method="labels"'),
        (call(optimizer="sdg"), UnknownNameError, 'unknown optimizer "sdg"; did you mean "sgd"'),
        (call(optimizer={"name": "sgd", "lr": 0}), ConfigError, "lr must be positive, not 0"),
        (call(optimizer={"lr": 1}), ConfigError, 'optimizer needs a name, e.g. "sgd"'),
        (call(epochs=0), ConfigError, "epochs must be at least 1, not 0"),
        (call(batch_size=0), ConfigError, "batch_size must be at least 1, not 0"),
        (call(clip=-1.0), ConfigError, "clip must be positive, not -1.0"),
        (call(precision="half"), ConfigError, 'unknown precision "half"; choose one of no, bf16, fp16'),
        (call(record_epochs=[9]), ConfigError, "record_epochs must lie between 0 and 1"),
        (call(path_layers=["layer9"]), LayerNotFoundError, 'layer "layer9" not found'),
        (call(path_layers=["layer1.2"]), ModelError, 'layer "layer1.2" has no trainable weights'),
        (call(student=nn.Conv2d(3, 2, 1)), ModelError, "the student must give logits"),
        (call(teacher=nn.Conv2d(3, 2, 1)), ModelError, "the teacher must give logits"),
        (call(train_data=(torch.zeros(0, 3, 8, 8), torch.zeros(0).long())), DataError, "no images"),
        (
            call(train_data=(torch.zeros(4, 3, 16, 16), torch.full((4,), 7))),
            DataError,
            r"labels run from 7 to 7, but the student has 5 classes \(0 to 4\)",
        ),
    ],
)
def test_mistakes_are_named(run, kind, message, make_network, data):
    with pytest.raises(kind, match=message):
        run(make_network, data)


def test_class_counts_must_agree(make_network, data):
    with pytest.raises(ModelError, match="the teacher gives 9 classes and the student 5"):
        distill(make_network(8, classes=9), make_network(4), data, epochs=1)


def test_a_network_cannot_teach_itself(make_network, data):
    network = make_network(4)
    with pytest.raises(ConfigError, match="teacher and student are the same object"):
        distill(network, network, data)


def test_a_loss_object_brings_its_own_options(make_network, data):
    loss = LOSSES["kd"](temperature=2.0)
    assert distill(make_network(8), make_network(4), data, method=loss, epochs=1).loss is loss
    with pytest.raises(ConfigError, match="has its options already"):
        distill(make_network(8), make_network(4), data, method=loss, alpha=0.1)


def test_events_come_in_order(make_network, data):
    events = []
    distill(None, make_network(4), data, method="labels", epochs=2, batch_size=16, progress=events.append)
    assert [e.kind for e in events] == ["start", *["step"] * 3, "epoch", *["step"] * 3, "epoch", "end"]
    assert [e.epoch for e in events if e.kind == "epoch"] == [1, 2]
    assert events[1].steps == 3
    assert {"loss", "top1", "lr"} <= set(events[4].values)


def test_the_given_student_is_deep_copied_nowhere_it_matters(make_network, data):
    student = make_network(4)
    untouched = copy.deepcopy(student)
    distill(None, student, data, method="labels", epochs=1)
    assert not same(weights(student), weights(untouched))


def test_the_last_batch_of_one_image_is_not_lost(make_network, make_data, monkeypatch):
    sizes = []
    original = kdlens.training.trainer.Trainer._update

    def spy(self, part, images, labels):
        sizes.append(part.whole)
        original(self, part, images, labels)

    monkeypatch.setattr(kdlens.training.trainer.Trainer, "_update", spy)
    distill(None, make_network(4), make_data(33), method="labels", epochs=1, batch_size=16)
    assert sizes == [16, 17]
