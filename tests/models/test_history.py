"""Checkpoints and path lengths of a training: read as they were written, and refused in one line where they are not."""

import copy
import itertools
import os

import pytest
import torch
from torch import nn

from kdlens.errors import HistoryError, KdlensError, ModelError, UnsafeFileError
from kdlens.models.history import Checkpoint, History, as_history, at_checkpoint, read_history
from kdlens.models.weighted import layer_of_weights
from kdlens.models.weights import read_weights, save_weights, weights_fingerprint
from kdlens.training.api import distill


def network(seed=0, width=4):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = [
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3),
            nn.ReLU(),
        ]
        return nn.Sequential(*parts, nn.Flatten(), nn.Linear(width * 36, 2))


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(24, 1, 8, 8, generator=generator), torch.arange(24) % 2


def train(out, **options):
    settings = {"epochs": 4, "record_epochs": [1, 2, 4], "path_layers": ["0", "3"], **options}
    return distill(None, network(), data(), method="labels", batch_size=8, out=out, **settings)


@pytest.fixture
def trained(tmp_path):
    return train(tmp_path / "run"), tmp_path / "run"


def moved(by, seed=0):
    """A network whose weights are all `by` further."""
    found = network(seed)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter += by
    return found


def test_what_a_training_wrote_is_read(trained):
    result, folder = trained
    history = read_history(folder)
    assert [c.epoch for c in history.checkpoints] == [0, 1, 2, 4]
    assert [c.moment for c in history.checkpoints][-1] == "epoch 4"
    assert history.unit == "epoch"
    for kind in ("per_step", "per_epoch"):
        for i, layer in enumerate(["0", "3"]):
            expected = result.path_lengths.relative(kind)[[0, 1, 2, 4], i]
            assert torch.equal(history.path(layer, kind), expected)
            assert history.path(layer, kind).dtype == torch.float64
    assert history.checkpoints[-1].equals(result.network)
    assert history.checkpoints[-1].fingerprint == weights_fingerprint(result.network)
    assert not history.checkpoints[0].equals(result.network)


def test_the_path_is_the_sum_of_distances_between_the_kept_weights(tmp_path):
    """With all epochs kept the paper's formula can be computed from the checkpoints themselves."""
    train(tmp_path / "run", record_epochs="all")
    history = read_history(tmp_path / "run")
    weights = [c.tensors["3.weight"].double() for c in history.checkpoints]
    steps = torch.tensor([0.0, *(float((b - a).norm()) for a, b in itertools.pairwise(weights))])
    assert history.path("3", "per_epoch").tolist() == pytest.approx(
        (steps.cumsum(0) / weights[0].norm()).tolist(), rel=1e-5
    )
    assert (history.path("3", "per_step") >= history.path("3", "per_epoch") - 1e-9).all()


def test_the_trained_student_is_the_last_checkpoint_if_its_epoch_was_not_kept(tmp_path):
    result = train(tmp_path / "run", record_epochs=[2])
    history = read_history(tmp_path / "run")
    assert [c.epoch for c in history.checkpoints] == [0, 2, 4]
    assert history.checkpoints[-1].equals(result.network)
    assert len(history.path("0")) == 3


def test_a_layer_without_weights_has_the_path_of_the_weighted_layer_before_it(trained):
    """The rule by which `path_layers: auto` chooses what to record."""
    result, folder = trained
    history = read_history(folder).of(result.network)
    assert torch.equal(history.path("2"), history.path("0"))
    assert torch.equal(history.path("4"), history.path("3"))
    with pytest.raises(HistoryError, match=r'no path lengths of layer "6", only of 0, 3'):
        history.path("6")
    with pytest.raises(HistoryError, match="name the last weighted one before it"):
        read_history(folder).path("2")
    with pytest.raises(KdlensError, match='layer "9" not found'):
        history.path("9")


def test_of_a_frozen_network_too(trained):
    result, folder = trained
    frozen = result.network.requires_grad_(False)
    assert read_history(folder).of(frozen).path("2").shape == (4,)


def test_the_rule_for_layers_before():
    net = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), nn.ReLU())
    assert [layer_of_weights(net, name) for name in ("0", "1", "1.1", "2")] == [None, "1", "1.1", "1.0"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"record_epochs": "none"},
            r"kept no checkpoints; train with `record: \{epochs: log\}`.*record_epochs=\"log\"",
        ),
        ({"record_epochs": [0]}, "kept no checkpoints"),
    ],
)
def test_a_training_that_kept_nothing_says_how_to_keep(tmp_path, options, message):
    train(tmp_path / "run", **options)
    with pytest.raises(HistoryError, match=message):
        read_history(tmp_path / "run")


def test_path_lengths_that_were_not_recorded(tmp_path):
    train(tmp_path / "run", path_layers=())
    history = read_history(tmp_path / "run")
    with pytest.raises(HistoryError, match=r"no path lengths; train with `record: \{path_layers: auto\}`"):
        history.path("0")


def test_folders_that_are_no_training(trained, tmp_path):
    _, folder = trained
    with pytest.raises(HistoryError, match="there is no folder"):
        read_history(tmp_path / "nowhere")
    (tmp_path / "other").mkdir()
    with pytest.raises(HistoryError, match="other holds no training; give one that `kdlens train` wrote"):
        read_history(tmp_path / "other")
    with pytest.raises(HistoryError, match="it holds run: give one folder a network"):
        read_history(tmp_path)
    (folder / "student.safetensors").unlink()
    with pytest.raises(HistoryError, match="is not finished; the same command continues it"):
        read_history(folder)


def test_a_layer_that_started_at_zero_has_no_relative_path(tmp_path):
    zero = network()
    nn.init.zeros_(zero[6].weight)
    options = {"epochs": 1, "record_epochs": "all", "path_layers": ["6"]}
    distill(None, zero, data(), method="labels", batch_size=8, out=tmp_path / "run", **options)
    with pytest.raises(HistoryError, match=r'layer "6" .*started at zero'):
        read_history(tmp_path / "run").path("6")


def swap(text):
    first, second, *rest = text.splitlines()
    return "\n".join([first, *rest, second])


@pytest.mark.parametrize(
    "damage",
    [
        swap,
        lambda text: text.replace("per_step", "steps"),
        lambda text: text.replace("epoch,layer", "layer,epoch", 1),
        lambda text: text[: text.rindex(",")],
        lambda text: "\n".join(line for line in text.splitlines() if not line.startswith("2,")),
        lambda text: text + "5,0,nan,nan,1.0\n5,3,nan,nan,1.0\n",
        lambda text: text + "5,0,0.0,0.0,1.0\n5,3,0.0,0.0,1.0\n",
        lambda text: text[: text.rstrip().rindex(",")] + ",7.0\n",
        lambda text: "\x00" * 99,
    ],
)
def test_damaged_path_lengths_are_one_line(trained, damage):
    _, folder = trained
    table = folder / "path_lengths.csv"
    table.write_text(damage(table.read_text()))
    with pytest.raises(HistoryError) as caught:
        read_history(folder).path("0")
    assert "path_lengths.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_path_lengths_that_end_too_early(trained):
    _, folder = trained
    table = folder / "path_lengths.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith(("3,", "4,"))))
    with pytest.raises(HistoryError, match="end before epoch 4"):
        read_history(folder)


def test_a_damaged_description_and_a_damaged_checkpoint(trained):
    _, folder = trained
    kept = (folder / "training.json").read_text()
    (folder / "training.json").write_text("[1]")
    with pytest.raises(HistoryError, match=r"training.json is damaged"):
        read_history(folder)
    (folder / "training.json").write_text(kept)
    (folder / "checkpoints/epoch-002.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"epoch-002.safetensors is damaged"):
        read_history(folder)


def test_strangers_among_the_checkpoints_are_left_alone(trained):
    _, folder = trained
    (folder / "checkpoints/notes.txt").write_text("mine")
    (folder / "checkpoints/epoch-best.safetensors").write_bytes(b"mine")
    assert [c.epoch for c in read_history(folder).checkpoints] == [0, 1, 2, 4]


class Explosive:
    def __reduce__(self):
        return os.system, ("echo broken into",)


def test_a_file_that_would_run_code_is_not_opened(tmp_path, capfd):
    torch.save(network().state_dict(), tmp_path / "good.pt")
    torch.save({"state_dict": Explosive()}, tmp_path / "bad.pt")
    with pytest.raises(UnsafeFileError, match=r"os\.system"):
        as_history([tmp_path / "good.pt", tmp_path / "bad.pt"])
    assert "broken into" not in capfd.readouterr().out


def test_files_states_and_networks_are_checkpoints_alike(tmp_path):
    nets = [moved(by) for by in (0.0, 0.1, 0.2)]
    save_weights(nets[0], tmp_path / "a.safetensors")
    history = as_history([(str(tmp_path / "a.safetensors"), 0), (nets[1].state_dict(), 0.5), (nets[2], 0.5)])
    assert [c.moment for c in history.checkpoints] == ["checkpoint 1", "checkpoint 2", "checkpoint 3"]
    assert history.unit == "checkpoint"
    assert history.path("0").tolist() == history.path("6", "per_epoch").tolist() == [0.0, 0.5, 0.5]
    assert [c.fingerprint for c in history.checkpoints] == [weights_fingerprint(net) for net in nets]
    assert as_history(history) is history
    with pytest.raises(HistoryError, match="has no path lengths"):
        as_history(nets).path("0")


def test_lists_that_are_no_history():
    a, b = moved(0.0), moved(0.1)
    for given, message in [
        ([], "has 0 checkpoint"),
        ([(a, 0.0)], "with two or more"),
        ([(a, 0.2), (b, 0.1)], "never fall.*in the order of training"),
        ([(a, 0.0), (b, float("nan"))], "finite"),
        ([(a, 0.0), (b, "far")], "must be numbers"),
        ([(a, 0.0), b], "with every checkpoint or with none"),
        ([(a, 0.0), (network(width=5), 0.1)], r'different networks: "0.weight" is \(4, 1, 3, 3\) in checkpoint 1 and'),
        ([(a, 0.0), (3, 0.1)], "checkpoint 2 must be a weights file, a state dict or a network, not int"),
        ([(a, 0.0), (a, 0.1)], "checkpoint 1 and checkpoint 2 share their memory.*deepcopy"),
        ([(a.state_dict(), 0.0), (a.state_dict(), 0.1)], "share their memory"),
        (a, "as a list of"),
        (None, "not as NoneType"),
    ]:
        with pytest.raises(HistoryError, match=message):
            as_history(given)


def test_of_another_network_is_refused():
    history = as_history([moved(0.0), moved(0.1)])
    with pytest.raises(HistoryError, match=r"of another network than this Sequential: .*of another shape"):
        history.of(network(width=5))


def test_the_fingerprint_sees_weights_epochs_and_lengths(trained, tmp_path):
    _, folder = trained
    first = read_history(folder).fingerprint
    assert read_history(folder).fingerprint == first
    os.rename(folder / "checkpoints/epoch-002.safetensors", folder / "checkpoints/epoch-003.safetensors")
    other_epoch = read_history(folder).fingerprint
    save_weights(moved(0.5), folder / "checkpoints/epoch-003.safetensors")
    other_weights = read_history(folder).fingerprint
    table = folder / "path_lengths.csv"
    *lines, last = table.read_text().splitlines()
    epoch, layer, _, *rest = last.split(",")
    table.write_text("\n".join([*lines, ",".join([epoch, layer, "99.0", *rest])]) + "\n")
    train(tmp_path / "elsewhere")
    assert len({first, other_epoch, other_weights, read_history(folder).fingerprint}) == 4
    assert read_history(tmp_path / "elsewhere").fingerprint == first
    a, b = moved(0.0), moved(0.1)
    assert as_history([(a, 0), (b, 1)]).fingerprint != as_history([(a, 0), (b, 2)]).fingerprint


def test_a_copy_is_at_the_checkpoint_and_the_network_is_as_it_was(trained):
    result, folder = trained
    network = result.network.train()
    before = copy.deepcopy(network.state_dict())
    start = read_history(folder).checkpoints[0]
    twin = at_checkpoint(network, start)
    kept = read_weights(folder / "checkpoints/epoch-000.safetensors")
    assert all(torch.equal(twin.state_dict()[name], tensor) for name, tensor in kept.items())
    assert not twin.training
    assert not any(p.requires_grad for p in twin.parameters())
    assert network.training
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_network_that_cannot_be_copied_is_told():
    class Single(nn.Linear):
        def __deepcopy__(self, memo):
            raise RuntimeError("only one of me")

    with pytest.raises(HistoryError, match=r"Single cannot be copied \(only one of me\)"):
        at_checkpoint(Single(2, 1), Checkpoint(0, nn.Linear(2, 1)))
    with pytest.raises(HistoryError, match="the checkpoint of epoch 3 does not fit Linear"):
        at_checkpoint(nn.Linear(2, 1), Checkpoint(3, nn.Linear(3, 1)))


def test_one_kind_of_path_lengths_or_the_other():
    with pytest.raises(HistoryError, match='"per_step" or "per_epoch", not "per_batch"'):
        History((Checkpoint(0, moved(0.0)), Checkpoint(1, moved(0.1)))).path("0", "per_batch")
