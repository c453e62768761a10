"""Students with attention in a train.yaml."""

import pytest
import yaml

from kdlens.errors import ConfigError
from kdlens.models.load import load_model
from kdlens.models.weights import virtual_layers
from kdlens.nn import VAM
from kdlens.training.run import train_from_config

BASE = {
    "data": {"name": "fashion", "limit": 40},
    "validation": None,
    "teacher": {"arch": "zoo:cnn8"},
    "student": {"arch": "zoo:cnn8", "vam": {"blocks": 2}},
    "method": "kd",
    "epochs": 1,
    "batch_size": 20,
    "attention": {"entropy": 0.1, "lr": 0.5, "temperature": 0.5},
}


@pytest.fixture
def run(tmp_path):
    def run(**changes):
        (tmp_path / "train.yaml").write_text(yaml.safe_dump({**BASE, **changes}))
        return train_from_config(tmp_path / "train.yaml", tmp_path / "out")

    return run


def test_the_student_has_attention_and_the_teacher_none(run, tmp_path, same):
    result = run()
    student = result.students[0].network
    assert VAM(student).layers
    assert not VAM(result.teacher).layers
    assert result.students[0].history[0]["attention_temperature"] == 0.5
    weights = tmp_path / "out/student.safetensors"
    again = load_model("cnn8", classes=10, in_channels=1, vam={"blocks": 2}, weights=weights)
    assert same(student.cpu().state_dict().values(), again.state_dict().values())
    assert {layer.temperature for _, layer in virtual_layers(again)} == {0.5}


def test_an_unknown_option_is_told(run):
    with pytest.raises(ConfigError, match='attention has no option "gamma"'):
        run(attention={"gamma": 0.1})
    with pytest.raises(ConfigError, match='vam has no option "block"; did you mean "blocks"'):
        run(student={"arch": "zoo:cnn8", "vam": {"block": 2}})
