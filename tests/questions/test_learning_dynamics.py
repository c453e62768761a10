"""`kdlens.learning_dynamics` on small networks, measured for real."""

import copy

import pytest
import torch
from torch import nn

import kdlens
from kdlens.errors import ConfigError, DataError, HistoryError
from kdlens.models.history import as_history
from kdlens.questions.discarding.discarding import information_discarding


def network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 3),
        ).eval()


@pytest.fixture(scope="module")
def checkpoints():
    return [(network(seed), path) for seed, path in ((0, 0.0), (1, 0.5), (2, 0.75))]


@pytest.fixture(scope="module")
def given():
    torch.manual_seed(0)
    masks = torch.zeros(5, 8, 8)
    masks[:, 2:6, 2:6] = 1
    return torch.randn(5, 3, 8, 8), masks


def watch(checkpoints, images, masks, **options):
    net = checkpoints[-1][0]
    return kdlens.learning_dynamics(
        net, checkpoints, images, masks, **{"layer": "3", "grid": 4, "threshold": 0.05, **options}
    )


@pytest.fixture(scope="module")
def found(checkpoints, given):
    return watch(checkpoints, *given, backend="linear")


def test_every_checkpoint_is_counted_as_it_would_be_alone(found, checkpoints, given):
    images, masks = given
    for place, (net, _) in enumerate(checkpoints):
        entropy = information_discarding(
            net, images, layer="3", grid=4, backend="linear", positions=torch.arange(5)
        ).entropy
        alone = kdlens.knowledge_points(entropy, masks[:, ::2, ::2] > 0, 0.05)
        assert torch.equal(found.kept[place], alone.kept)
    assert found.kept.any()
    assert found.path.tolist() == [0.0, 0.5, 0.75]
    assert (found.unit, found.epochs.tolist()) == ("checkpoint", [1, 2, 3])  # nobody said after which epochs they are
    assert found.d_var == pytest.approx(found.d_std**2)


def test_probes_are_those_of_the_measure(checkpoints, given):
    images, masks = given
    few = watch(checkpoints, images, masks, backend="linear", probes=8)
    alone = information_discarding(
        checkpoints[0][0], images, layer="3", grid=4, backend="linear", probes=8, positions=torch.arange(5)
    )
    assert torch.equal(few.kept[0], kdlens.knowledge_points(alone.entropy, masks[:, ::2, ::2] > 0, 0.05).kept)


def test_the_same_network_at_every_checkpoint_makes_no_detour(checkpoints, given):
    net = checkpoints[1][0]
    found = watch([(copy.deepcopy(net), path) for path in (0.0, 0.5, 1.0)], *given, backend="linear")
    assert torch.equal(found.kept[0], found.kept[2])
    known = found.on_object[0] > 0
    assert (found.stability[known] == 1).all()
    assert found.d_mean == 0  # of equal peaks the first


def test_equal_trainings_are_equal_bit_by_bit(found, checkpoints, given):
    again = watch([(copy.deepcopy(net), path) for net, path in checkpoints], *given, backend="linear")
    for name in ("kept", "on_object", "path_to_peak", "stability"):
        assert torch.equal(getattr(found, name), getattr(again, name))


def test_the_network_comes_back_as_it_was(checkpoints, given):
    net = network(9).train()
    before = copy.deepcopy(net.state_dict())
    kdlens.learning_dynamics(net, checkpoints, *given, layer="3", grid=4, backend="linear")
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_the_folder_of_a_training_serves(tmp_path, given):
    images, masks = given
    student = network(0)
    kdlens.distill(
        None,
        student,
        (torch.randn(40, 3, 8, 8), torch.arange(40) % 3),
        method="labels",
        epochs=2,
        batch_size=8,
        out=tmp_path / "a",
        record_epochs="all",
        path_layers=["2"],
    )
    both = {
        kind: kdlens.learning_dynamics(
            student, tmp_path / "a", images, masks, layer="3", grid=4, backend="linear", path=kind
        )
        for kind in ("per_step", "per_epoch")
    }
    assert (both["per_step"].unit, both["per_step"].epochs.tolist()) == ("epoch", [0, 1, 2])
    assert torch.equal(both["per_step"].path, as_history(tmp_path / "a").path("2", "per_step"))
    assert (both["per_step"].path[1:] > both["per_epoch"].path[1:]).all()
    assert torch.equal(both["per_step"].kept, both["per_epoch"].kept)


def test_wrong_input_is_named(checkpoints, given):
    images, masks = given
    with pytest.raises(HistoryError, match="two or more"):
        watch(checkpoints[:1], images, masks)
    with pytest.raises(HistoryError, match="path lengths"):
        kdlens.learning_dynamics(checkpoints[0][0], [net for net, _ in checkpoints], images, masks, layer="3", grid=4)
    with pytest.raises(ConfigError, match="probes must be 8 or more"):
        watch(checkpoints, images, masks, probes=4)
    with pytest.raises(DataError, match="one mask each"):
        watch(checkpoints, images, masks[:2])
    with pytest.raises(DataError, match=r"got \(5, 7, 7\)"):
        watch(checkpoints, images, masks[:, 1:, 1:])


def test_path_lengths_need_not_be_known(checkpoints, given):
    net = checkpoints[0][0]
    found = kdlens.learning_dynamics(
        net, [net for net, _ in checkpoints], *given, layer="3", grid=4, backend="linear", path=None
    )
    assert found.d_mean != found.d_mean  # NaN
    assert 0 <= found.rho <= 1
