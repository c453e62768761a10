import json

import pytest
import torch
from typer.testing import CliRunner

import kdlens
from kdlens.cli import app
from kdlens.config import StudyConfig, load_yaml
from kdlens.models.weights import save_weights
from kdlens.training.config import load_training_config


@pytest.fixture
def run():
    runner = CliRunner()

    def invoke(*arguments, code=0):
        result = runner.invoke(app, [str(a) for a in arguments])
        assert result.exit_code == code, result.output
        return result.output

    return invoke


@pytest.fixture
def study(tmp_path):
    torch.manual_seed(0)
    for name in ("a", "b"):
        save_weights(kdlens.load_model("zoo:cnn8", classes=10), tmp_path / f"{name}.safetensors")
    path = tmp_path / "study.yaml"
    path.write_text("""
data: {name: fashion-scenes, count: 80}
models:
  baseline: {arch: "zoo:cnn8", weights: a.safetensors}
  students: {kd: {arch: "zoo:cnn8", weights: b.safetensors}}
questions: [accuracy]
""")
    return path


def test_explain_writes_a_report_and_says_where(run, study, tmp_path):
    output = run("explain", study, "-o", tmp_path / "out")
    assert f"Report: {tmp_path}/out/report.html" in output
    assert (tmp_path / "out/report.html").is_file()
    again = run("report", tmp_path / "out", "-o", tmp_path / "again.html")
    assert "again.html" in again
    assert "unchanged" not in run("explain", study, "-o", tmp_path / "out", "-q")


def test_a_wrong_file_is_one_line_and_exit_code_2(run, study, tmp_path):
    study.write_text(study.read_text().replace("questions", "questoins"))
    output = run("explain", study, "-o", tmp_path / "out", code=2)
    assert 'unknown key; did you mean "questions"?' in output
    assert "Traceback" not in output


def test_a_foreign_folder_is_refused(run, study, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    assert "is not a kdlens run" in run("explain", study, "-o", tmp_path / "mine", code=1)


def test_init_writes_a_valid_study_and_never_overwrites(run, tmp_path):
    path = tmp_path / "study.yaml"
    run("init", path)
    assert load_yaml(path, StudyConfig).models.teacher is not None
    error = run("explain", path, "-o", tmp_path / "out", code=1)
    assert f"there is no folder {tmp_path}/photos" in error
    assert len(error.splitlines()) <= 2
    path.write_text("mine")
    assert "is there already" in run("init", path, code=2)
    assert path.read_text() == "mine"
    run("init", path, "--force")


def test_init_makes_no_folders(run, tmp_path):
    assert f"there is no folder {tmp_path}/nope;" in run("init", tmp_path / "nope/study.yaml", code=1)
    assert not (tmp_path / "nope").exists()


def test_layers_marks_those_auto_would_choose(run):
    lines = run("layers", "zoo:resnet20").splitlines()
    assert [line.split()[1] for line in lines if line.startswith("*")] == ["layer1", "layer2", "layer3"]
    assert "did you mean" in run("layers", "zoo:resnet21", code=2)


def test_methods_lists_everything_known_by_name(run):
    output = run("methods")
    for name in (
        "unicam",
        "fitnet",
        "fashion-scenes",
        "resnet110",
        "kd(temperature=4.0, alpha=0.9)",
        "layer-mse(layer='auto'",
        "cnnWIDTH",
    ):
        assert name in output


def test_doctor_prints_checks_and_json(run, study):
    found = json.loads(run("doctor", study, "--json", code=1))  # untrained networks: it has something to say
    assert any(check["status"] in ("warn", "fail") for check in found["checks"])


def test_version(run):
    assert kdlens.__version__ in run("--version")


def test_an_unfitting_network_is_one_line(run, study, tmp_path):
    grey = kdlens.load_model("zoo:cnn8", classes=10, in_channels=1)
    save_weights(grey, tmp_path / "b.safetensors")
    study.write_text(
        study.read_text().replace("weights: b.safetensors", "weights: b.safetensors, options: {in_channels: 1}")
    )
    output = run("explain", study, "-o", tmp_path / "out", code=1)
    assert "error: kd cannot take an image batch of shape (1, 3, 32, 32)" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[accuracy]", "[accuracy, accuracy]"), 'question "accuracy" is asked twice'),
        (("[accuracy]", "[{accuracy: {margin: wide}}]"), 'question "accuracy", option "margin"'),
        (("data:", "device: cuda:9\ndata:"), 'device "cuda:9" cannot be used'),
        (("data:", "layers: [conv1, conv1]\ndata:"), "list of different names"),
    ],
)
def test_bad_settings_are_one_line_and_exit_code_2(run, study, tmp_path, change, message):
    study.write_text(study.read_text().replace(*change))
    output = run("explain", study, "-o", tmp_path / "out", code=2)
    assert message in output
    assert "Traceback" not in output


def test_a_report_is_not_written_over_a_file(run, study, tmp_path):
    run("explain", study, "-o", tmp_path / "out")
    (tmp_path / "mine.html").write_text("mine")
    output = run("report", tmp_path / "out", "-o", tmp_path / "mine.html", code=2)
    assert "--force" in output
    assert "overwrite=" not in output
    assert (tmp_path / "mine.html").read_text() == "mine"
    run("report", tmp_path / "out", "-o", tmp_path / "mine.html", "--force")
    assert "<html" in (tmp_path / "mine.html").read_text()


def test_a_report_shows_what_was_asked_last(run, study, tmp_path):
    run("explain", study, "-o", tmp_path / "out")
    study.write_text(study.read_text().replace("[accuracy]", "[{relevance: {images: 32, permutations: 20}}]"))
    run("explain", study, "-o", tmp_path / "out")
    run("report", tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert "Is the student like the teacher" in page
    assert "Did distillation help?" not in page


def test_the_training_template_is_valid(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = run("init", "--train")
    assert "kdlens train train.yaml -o trained/" in output
    config = load_training_config(tmp_path / "train.yaml")
    assert (config.method_name, config.teacher.arch, config.all_seeds) == ("kd", "zoo:resnet20", [0, 1, 2])


def test_train_can_begin_anew(run, tmp_path):
    config = tmp_path / "train.yaml"
    config.write_text("""
data: {name: fashion-scenes, count: 64}
validation: null
student: zoo:cnn8
method: labels
epochs: 1
""")
    out = tmp_path / "trained"
    run("train", config, "-o", out, "-q")
    config.write_text(config.read_text().replace("epochs: 1", "epochs: 2"))
    assert "--restart" in run("train", config, "-o", out, "-q", code=1)
    run("train", config, "-o", out, "-q", "--restart")
    assert len((out / "history.csv").read_text().splitlines()) == 3
