"""The doctor of a study file looks at every student, with the study's layers."""

import json

import pytest
import torch
from typer.testing import CliRunner

import kdlens
from kdlens.cli import app
from kdlens.models.weights import save_weights
from kdlens.study_file import diagnose_file, explain_file

STUDY = """
data: {name: fashion-scenes, count: 80}
models:
  baseline: {arch: "zoo:cnn8", weights: baseline.safetensors}
  students:
    kd: {arch: "zoo:cnn8", weights: kd.safetensors}
    fitnet: {arch: "zoo:cnn8", weights: fitnet.safetensors}
questions: [accuracy]
"""


@pytest.fixture
def folder(tmp_path):
    """Three networks; one layer of the second student is off."""
    for seed, name in enumerate(("baseline", "kd", "fitnet")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = kdlens.load_model("zoo:cnn8", classes=10)
        if name == "fitnet":
            with torch.no_grad():
                network.layer3[2].weight.zero_()
                network.layer3[2].bias.fill_(-1.0)
        save_weights(network, tmp_path / f"{name}.safetensors")
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def test_every_student_is_looked_at(folder):
    found = diagnose_file(folder / "study.yaml")
    assert '"layer3" of the student fitnet are the same for all' in found["activations"].message
    assert "student kd" in found["accuracy"].message
    assert "student fitnet" in found["accuracy"].message


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        ("[layer2]", "baseline layer2"),
        ("{student: [layer1], baseline: [layer2, layer3]}", "student fitnet layer1; baseline layer2 and layer3"),
    ],
)
def test_the_layers_of_the_study_are_used(folder, layers, told):
    (folder / "study.yaml").write_text(f"{STUDY}layers: {layers}\n")
    found = diagnose_file(folder / "study.yaml")
    assert found["layers"].message.endswith(f"{told}.")
    assert found["activations"].status != "fail"  # layer3 of the student is not among them


def test_a_layer_that_is_not_there_is_a_failed_check(folder):
    (folder / "study.yaml").write_text(f"{STUDY}layers: {{student: [layer9]}}\n")
    result = CliRunner().invoke(app, ["doctor", str(folder / "study.yaml"), "--json"])
    assert result.exit_code == 1
    [check] = [check for check in json.loads(result.output)["checks"] if check["name"] == "layers"]
    assert check["status"] == "fail"
    assert 'student kd: layer "layer9" not found' in check["message"]
    assert 'student fitnet: layer "layer9" not found' in check["message"]


def test_the_alerts_of_a_study_are_for_every_student(folder):
    (folder / "study.yaml").write_text(f"{STUDY}layers: [layer3]\ndoctor: true\n")
    alerts = explain_file(folder / "study.yaml", out=folder / "out").meta.alerts
    assert any('"layer3" of the student fitnet' in alert for alert in alerts)
    guessing = next(alert for alert in alerts if alert.startswith("accuracy:"))  # nothing is trained here
    assert "student kd" in guessing
    assert "student fitnet" in guessing
