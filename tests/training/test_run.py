"""From a train.yaml to trained networks."""

import json
import textwrap

import pytest
import torch
import yaml

from kdlens.errors import ConfigError, KdlensError, UnknownNameError
from kdlens.models.weights import read_weights
from kdlens.training.config import TrainingConfig, load_training_config
from kdlens.training.run import train_from_config

NETS = """
    import torch
    from torch import nn

    def small(num_classes=10, width=4):
        block = [nn.Conv2d(1, width, 3, 4), nn.BatchNorm2d(width), nn.ReLU()]
        return nn.Sequential(*block, nn.Flatten(), nn.Linear(49 * width, num_classes))
"""

BASE = {
    "data": {"name": "fashion", "limit": 120},
    "validation": {"name": "fashion", "split": "test", "limit": 60},
    "student": "nets.py:small",
    "method": "labels",
    "epochs": 2,
    "batch_size": 30,
}


@pytest.fixture
def write(tmp_path):
    (tmp_path / "nets.py").write_text(textwrap.dedent(NETS))

    def write(**changes):
        content = {name: value for name, value in {**BASE, **changes}.items() if value != "absent"}
        (tmp_path / "train.yaml").write_text(yaml.safe_dump(content))
        return tmp_path / "train.yaml"

    return write


def run(path, out, **options):
    return train_from_config(path, out, allow_code=True, **options)


def test_one_network_on_labels(write, tmp_path):
    result = run(write(), tmp_path / "out")
    assert list(result.students) == [0]
    assert result.teacher is None
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["students"]["0"]["top1"] == result.students[0].history[-1]["validation_top1"]
    assert results["top1"] == {"mean": results["students"]["0"]["top1"], "low": None, "high": None, "seeds": 1}
    assert (tmp_path / "out/student.safetensors").is_file()


def test_the_written_configuration_says_everything_and_can_be_run_again(write, tmp_path):
    run(write(validation=None, optimizer={"name": "adam", "lr": 0.01}), tmp_path / "out")
    again = load_training_config(tmp_path / "out/train.yaml")
    assert again == load_training_config(tmp_path / "train.yaml")
    assert again.optimizer == {"name": "adam", "lr": 0.01}
    assert again.validation is None


def test_seeds_differ_and_give_an_interval(write, tmp_path):
    result = run(write(seeds=[0, 1, 2]), tmp_path / "out")
    weights = [read_weights(tmp_path / f"out/seed-{seed}/student.safetensors")["0.weight"] for seed in range(3)]
    assert not torch.equal(weights[0], weights[1])
    summary = result.results["top1"]
    assert summary["seeds"] == 3
    assert summary["low"] <= summary["mean"] <= summary["high"]


def test_a_seed_is_the_same_alone_and_among_others(write, tmp_path):
    run(write(seeds=[0, 1]), tmp_path / "both")
    run(write(seed=1), tmp_path / "one")
    both, one = (read_weights(tmp_path / p / "student.safetensors") for p in ("both/seed-1", "one"))
    assert all(torch.equal(both[name], one[name]) for name in one)


def test_a_teacher_without_weights_is_trained_first_and_once(write, tmp_path):
    events = []
    teacher = {"arch": "nets.py:small", "options": {"width": 8}}
    result = run(write(teacher=teacher, method="kd", seeds=[0, 1]), tmp_path / "out", progress=events.append)
    assert [e.title for e in events if e.kind == "start"] == ["teacher", "kd seed 0", "kd seed 1"]
    assert read_weights(tmp_path / "out/earlier/teacher/student.safetensors")["0.weight"].shape[0] == 8
    assert "top1" in result.results["teacher"]


def test_a_teacher_with_weights_is_only_read(write, tmp_path):
    run(write(), tmp_path / "first")
    events = []
    teacher = {"arch": "nets.py:small", "weights": "first/student.safetensors"}
    config = write(teacher=teacher, method={"name": "kd", "temperature": 2.0, "alpha": 0.5})
    result = run(config, tmp_path / "out", progress=events.append)
    assert [e.title for e in events if e.kind == "start"] == ["kd"]
    assert result.students[0].loss.options == {"temperature": 2.0, "alpha": 0.5}


def test_a_chain_of_assistants(write, tmp_path):
    chain = [{"arch": "nets.py:small", "options": {"width": width}} for width in (8, 6, 4)]
    result = run(write(student="absent", chain=chain, method="at"), tmp_path / "out")
    assert [len(link.network[0].weight) for link in (*result.students[0].earlier, result.students[0])] == [6, 4]
    for place in ("earlier/teacher", "earlier/assistant-1", ""):
        assert (tmp_path / "out" / place / "student.safetensors").is_file()


def test_generations_start_from_fresh_weights(write, tmp_path):
    result = run(write(method={"name": "self-distillation", "generations": 2}), tmp_path / "out")
    starts = [
        read_weights(tmp_path / "out" / place / "checkpoints/epoch-000.safetensors")["0.weight"]
        for place in ("earlier/generation-0", "earlier/generation-1", "")
    ]
    assert not torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[1], starts[2])
    assert len(result.students[0].earlier) == 2


def test_stopped_and_run_again_gives_the_same(write, tmp_path):
    teacher = {"arch": "nets.py:small", "options": {"width": 8}}
    config = write(teacher=teacher, method="fitnet", seeds=[0, 1], record={"epochs": "all", "save_every": 2})
    straight = run(config, tmp_path / "straight")
    for stop in (3, 9, 7):
        steps = []

        def listener(event, steps=steps, stop=stop):
            steps.append(event.kind == "step")
            if sum(steps) == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "stopped", progress=listener)
    stopped = run(config, tmp_path / "stopped")
    assert stopped.results == straight.results


def test_starting_anew_must_be_asked_for(write, tmp_path):
    run(write(), tmp_path / "out")
    with pytest.raises(KdlensError, match=r"training.epochs was 2, now 1"):
        run(write(epochs=1), tmp_path / "out")
    result = run(write(epochs=1), tmp_path / "out", resume=False)
    assert len(result.students[0].history) == 1


def test_code_needs_permission(write, tmp_path):
    with pytest.raises(KdlensError, match="allow"):
        train_from_config(write(), tmp_path / "out")


def test_zoo_networks_get_the_channels_of_the_images(tmp_path):
    config = TrainingConfig(**{**BASE, "student": "zoo:resnet8", "epochs": 1, "data": {"name": "fashion", "limit": 20}})
    result = train_from_config(config, tmp_path / "out")
    assert next(result.students[0].network.parameters()).shape[1] == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epohcs": 3}, 'epohcs: unknown key; did you mean "epochs"'),
        ({"epochs": 0}, "epochs: expected 1 or more, got 0"),
        ({"student": "absent"}, "give either a student, or a chain"),
        ({"chain": ["zoo:resnet20", "zoo:resnet8"]}, "give either a student, or a chain"),
        ({"student": "absent", "chain": ["zoo:resnet8"]}, "chain: expected 2 or more entries, got"),
        ({"seeds": [1, 1]}, "the same seed twice"),
        ({"optimizer": {"lr": 0.1}}, "optimizer.*give a name with the options"),
        ({"augment": "mixup"}, "augment: expected 'none', 'flip' or 'crop-flip', got 'mixup'"),
        ({"student": {"arch": "zoo:resnet8", "wieghts": "x"}}, 'student.wieghts: unknown key; did you mean "weights"'),
        ({"data": "absent"}, "data: is missing"),
    ],
)
def test_mistakes_in_the_file_are_named(changes, message, write):
    with pytest.raises(ConfigError, match=message):
        load_training_config(write(**changes))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"method": "kd"}, ConfigError, 'method "kd" learns from a teacher'),
        ({"method": "hinton"}, UnknownNameError, 'unknown method "hinton"'),
        ({"method": {"name": "label-smoothing", "smooth": 1}}, ConfigError, 'has no option "smooth"'),
    ],
)
def test_mistakes_in_the_method_are_named(changes, kind, message, write, tmp_path):
    with pytest.raises(kind, match=message):
        run(write(**changes), tmp_path / "out")


@pytest.mark.slow
def test_a_real_student_learns_real_images(tmp_path):
    """Embedded Fashion-MNIST: a baseline, and a student of a larger teacher, well above chance."""
    common = {"data": {"name": "fashion", "limit": 2000}, "epochs": 4, "optimizer": {"name": "adam", "lr": 0.006}}
    baseline = train_from_config(TrainingConfig(**common, student="zoo:cnn8", method="labels"), tmp_path / "baseline")
    student = train_from_config(
        TrainingConfig(**common, student="zoo:cnn8", teacher="zoo:cnn16", method="kd"), tmp_path / "kd"
    )
    assert baseline.results["top1"]["mean"] > 60
    assert student.results["top1"]["mean"] > 60
    assert student.results["teacher"]["top1"] > 60
