"""A study from end to end: small networks, real garments, the run folder, and everything that can go wrong."""

import io
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from rich.console import Console

import kdlens
from kdlens.errors import (
    ConfigError,
    KdlensError,
    LayerNotFoundError,
    ModelError,
    RunFolderError,
    StatisticsError,
    UnknownNameError,
    UnsafeFileError,
)
from kdlens.models.weights import save_weights
from kdlens.progress import stages
from kdlens.report.document import Report
from kdlens.study_file import explain_file, report_from_folder, study_from_file

STUDY = """
seed: 1
data: {name: fashion-scenes, split: test, count: 49, bias: 0.0}
models:
  teacher:  {arch: "zoo:cnn16", weights: teacher.safetensors}
  baseline: {arch: "zoo:cnn8", weights: baseline.safetensors}
  students: {kd: {arch: "zoo:cnn8", weights: student.safetensors}}
questions: [accuracy, {unicam: {gallery: 6}}, {relevance: {images: 32, permutations: 50}}, reliance]
"""
UNICAM = STUDY.partition(", {relevance")[0] + "]\n"  # of its two questions the second takes seconds
SHORT = f"{STUDY.partition('questions:')[0]}questions: [accuracy, reliance]\n"  # where any question would do


@pytest.fixture(scope="module")
def networks():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return {
            name: kdlens.load_model(arch, classes=10)
            for name, arch in (("teacher", "zoo:cnn16"), ("baseline", "zoo:cnn8"), ("student", "zoo:cnn8"))
        }


def written(folder, networks):
    for name, network in networks.items():
        save_weights(network, folder / f"{name}.safetensors")
    (folder / "study.yaml").write_text(STUDY)
    return folder


@pytest.fixture
def folder(tmp_path, networks):
    return written(tmp_path, networks)


@dataclass
class Finished:
    """A study that was run once; nobody writes into its folder."""

    report: Report
    said: list[str]
    out: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, networks):
    folder, said = written(tmp_path_factory.mktemp("finished"), networks), []
    report = explain_file(folder / "study.yaml", out=folder / "out", say=said.append)
    return Finished(report, said, folder / "out")


@pytest.fixture
def again(finished, folder):
    """The study, and a copy of its run folder to run it in again."""
    shutil.copytree(finished.out, folder / "out")
    return folder


@pytest.fixture(scope="module")
def images():
    return kdlens.load_dataset("fashion-scenes", count=49)


def explained(networks, images, **options):
    return kdlens.explain(networks["teacher"], networks["student"], networks["baseline"], images, **options)


def test_a_study_file_becomes_a_report_with_every_question(finished):
    assert finished.report.meta.failed == {}
    assert list(finished.report.answers) == ["accuracy", "unicam", "relevance", "reliance"]
    page = (finished.out / "report.html").read_text()
    assert len(page) < 5e6
    for name in ("study.yaml", "environment.json", "answers/unicam/arrays.safetensors", "answers/accuracy/table.csv"):
        assert (finished.out / name).is_file()
    assert "fashion-scenes" in (finished.out / "study.yaml").read_text()


def test_an_unchanged_question_is_not_computed_again_and_a_changed_one_is(finished, again):
    def run(text):
        (again / "study.yaml").write_text(text)
        said = []
        explain_file(again / "study.yaml", out=again / "out", say=said.append)
        return said

    assert sum("computing" in text for text in finished.said) == 4
    assert not any("unchanged" in text for text in finished.said)
    second = run(STUDY)
    assert sum("unchanged" in text for text in second) == 4
    assert not any("computing" in text for text in second)
    changed = run(STUDY.replace("gallery: 6", "gallery: 8"))
    assert [text for text in changed if "computing" in text] == ["unicam: computing"]
    assert sum("computing" in text for text in run(STUDY.replace("seed: 1", "seed: 2"))) == 4


def test_another_study_in_the_folder_is_told_before_anything_is_computed(folder):
    short = f"{STUDY.partition('questions:')[0]}questions: [reliance]\n"

    def told(text):
        said = []
        (folder / "study.yaml").write_text(text)
        explain_file(folder / "study.yaml", out=folder / "out", say=said.append)
        return [(i, line.partition(" held ")[2]) for i, line in enumerate(said) if " held " in line]

    assert told(short) == []
    assert told(short) == []
    assert told(short.replace("reliance]", "{reliance: {images: 32}}]")) == []  # another option is the same study
    other = short.replace("count: 49", "count: 40")
    assert told(other) == [(0, "another study (data changed); its answers are replaced")]
    assert told(other) == []
    changed = other.replace("seed: 1", "seed: 2").replace("student.safetensors", "baseline.safetensors")
    assert told(changed) == [(0, "another study (networks or layers and seed changed); its answers are replaced")]


def test_other_weights_are_another_study(again, networks):
    (again / "study.yaml").write_text(SHORT)

    def run():
        said = []
        explain_file(again / "study.yaml", out=again / "out", say=said.append)
        return sum("unchanged" in text for text in said), sum("computing" in text for text in said)

    assert run() == (2, 0)
    save_weights(networks["baseline"], again / "student.safetensors")
    assert run() == (0, 2)


def test_the_report_can_be_made_again_from_the_folder(finished):
    again = report_from_folder(finished.out)
    assert set(again.answers) == {"accuracy", "unicam", "relevance", "reliance"}
    assert again.meta.title == "What did kd learn?"
    with pytest.raises(ConfigError, match="holds no finished run"):
        report_from_folder(finished.out.parent)


def test_the_same_seed_gives_the_same_answers_for_any_batch_size(finished, folder):
    (folder / "study.yaml").write_text(f"batch_size: 10\n{UNICAM}")
    one, other = finished.report, study_from_file(folder / "study.yaml").run()  # all images in one batch, and in five
    assert list(other.answers) == ["accuracy", "unicam"]
    for question in other.answers:
        for a, b in zip(one[question].rows, other[question].rows, strict=True):
            assert (a.metric, a.model, a.layer, a.n) == (b.metric, b.model, b.layer, b.n)
            assert a.value == pytest.approx(b.value, abs=1e-4, nan_ok=True)
    maps = [
        (one["unicam"].arrays[name], other["unicam"].arrays[name]) for name in one["unicam"].arrays if "map" in name
    ]
    assert maps
    for a, b in maps:
        torch.testing.assert_close(torch.from_numpy(a), torch.from_numpy(b), atol=1e-4, rtol=1e-3)


def test_swapping_student_and_baseline_changes_the_sign(networks, images):
    one, other = networks["teacher"], networks["student"]

    def gain(student, baseline):
        report = kdlens.explain(None, student, baseline, images, questions=["accuracy"])
        return report["accuracy"].value("top1_gain", model="student", seed=0)

    assert abs(gain(one, other)) > 1
    assert gain(one, other) == pytest.approx(-gain(other, one))


def test_the_models_come_back_untouched(networks, images):
    student = networks["student"]
    student.train()
    student.fc_marker = "kept"
    state = {name: value.clone() for name, value in student.state_dict().items()}
    explained(networks, images, questions=["accuracy", "relevance"])
    assert all(module.training for module in student.modules())
    assert all(torch.equal(value, state[name]) for name, value in student.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in student.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in student.modules())
    student.eval()


def test_several_students_and_seeds(networks, images):
    report = kdlens.explain(
        None,
        {"kd": [networks["student"]] * 2, "other": networks["baseline"]},
        [networks["baseline"]] * 2,
        torch.utils.data.DataLoader(images, batch_size=16),
        questions=["accuracy"],
        class_names=images.classes,
    )
    rows = report["accuracy"].select(metric="top1_gain")
    assert {(row.model, row.seed) for row in rows} >= {("kd", 0), ("kd", 1), ("other", 0)}
    assert "other" in str(report)


def test_a_failing_question_does_not_cost_the_others(networks, images, monkeypatch):
    from kdlens.questions.accuracy.question import Accuracy

    def broken(self, context):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Accuracy, "answer", broken)
    report = explained(networks, images, questions=["accuracy", "reliance"])
    assert list(report.answers) == ["reliance"]
    assert report.meta.failed == {"accuracy": "RuntimeError: a bug"}
    assert "a bug" in report.html()
    assert "accuracy failed: RuntimeError: a bug" in repr(report)


def failing(networks, images, monkeypatch, error):
    from kdlens.questions.accuracy.question import Accuracy

    def broken(self, context):
        raise error

    monkeypatch.setattr(Accuracy, "answer", broken)
    return explained(networks, images, questions=["accuracy", "reliance"])


def test_a_failure_is_one_line_and_a_traceback_must_be_asked_for(networks, images, monkeypatch, caplog):
    report = failing(networks, images, monkeypatch, StatisticsError("at least 4 images,\ngot 3"))
    assert report.meta.failed == {"accuracy": "at least 4 images, got 3"}
    assert [record.getMessage() for record in caplog.records] == ["accuracy failed: at least 4 images, got 3"]
    assert caplog.records[0].exc_info is None
    caplog.clear()
    failing(networks, images, monkeypatch, RuntimeError("a bug"))
    hint = "(run with KDLENS_DEBUG=1 for the traceback)"
    assert [record.getMessage() for record in caplog.records] == [f"accuracy failed: RuntimeError: a bug {hint}"]
    assert caplog.records[0].exc_info is None
    caplog.clear()
    monkeypatch.setenv("KDLENS_DEBUG", "1")
    failing(networks, images, monkeypatch, RuntimeError("a bug"))
    assert caplog.records[0].exc_info


def test_progress_marks_a_question_that_failed(networks, images, monkeypatch):
    from kdlens.questions.accuracy.question import Accuracy

    def broken(self, context):
        raise RuntimeError("a bug")

    out = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=out, width=100))
    monkeypatch.setattr(Accuracy, "answer", broken)
    with stages() as say:
        explained(networks, images, questions=["accuracy", "reliance"], progress=say)
    lines = [line.split()[:3] for line in out.getvalue().splitlines()]
    assert lines == [["✗", "accuracy:", "computing"], ["✓", "reliance:", "computing"]]


def test_a_question_is_one_line_of_progress_and_every_step_is_told_to_a_function(networks, images, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=out, width=100))
    with stages() as say:
        explained(networks, images, questions=["accuracy", "reliance"], progress=say)
    assert [line.split()[1] for line in out.getvalue().splitlines()] == ["accuracy:", "reliance:"]
    said = []
    explained(networks, images, questions=["accuracy"], progress=said.append)
    assert [text for text in said if "predicting" in text]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("reliance]", "reliancee]"), UnknownNameError, 'unknown question "reliancee"; did you mean "reliance" or'),
        (("gallery: 6", "galery: 6"), ConfigError, 'question "unicam" has no option "galery"; did you mean "gallery"?'),
        (("seed: 1", "seed: 1\nlayers: [layer5]"), LayerNotFoundError, 'layer "layer5" not found'),
        (("student.safetensors", "nowhere.safetensors"), ModelError, "nowhere.safetensors"),
        (("zoo:cnn16", "zoo:cnnn16"), UnknownNameError, 'did you mean "cnn16"'),
        (("zoo:cnn16", "nets.py:build"), KdlensError, "--allow-code"),
        (("split: test", "split: tset"), KdlensError, "tset"),
        (("bias: 0.0", "biass: 0.0"), KdlensError, "biass"),
        (("count: 49", "count: 49, classes: [Dress, Bag]"), KdlensError, "classes"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_computed(folder, change, error, message):
    (folder / "study.yaml").write_text(STUDY.replace(*change))
    with pytest.raises(error) as caught:
        explain_file(folder / "study.yaml", out=folder / "out")
    assert message in str(caught.value)
    assert not (folder / "out/answers/accuracy").exists()


def test_a_hostile_checkpoint_does_not_run(folder, tmp_path):
    import pickle

    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/owned",)

    torch.save({"state_dict": Payload()}, folder / "student.pt", pickle_module=pickle)
    (folder / "study.yaml").write_text(STUDY.replace("student.safetensors", "student.pt"))
    with pytest.raises(UnsafeFileError, match="system"):
        explain_file(folder / "study.yaml", out=folder / "out")
    assert not (tmp_path / "owned").exists()


def test_code_runs_only_when_allowed(folder):
    (folder / "nets.py").write_text(
        "import kdlens\ndef build(num_classes=10):\n    return kdlens.load_model('zoo:cnn8')\n"
    )
    (folder / "study.yaml").write_text(STUDY.replace('arch: "zoo:cnn8"', 'arch: "nets.py:build"'))
    with pytest.raises(KdlensError, match="--allow-code"):
        study_from_file(folder / "study.yaml")
    assert study_from_file(folder / "study.yaml", allow_code=True)


def test_wrong_class_counts_are_named(networks, images):
    wrong = kdlens.load_model("zoo:cnn8", classes=7)
    with pytest.raises(ModelError, match=r"teacher gives an output of shape \(1, 7\).*10 classes"):
        kdlens.explain(wrong, networks["student"], networks["baseline"], images)


def test_a_network_of_nan_is_named(networks, images):
    broken = kdlens.load_model("zoo:cnn8", classes=10)
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="student gives NaN"):
        kdlens.explain(None, broken, networks["baseline"], images)


def test_a_study_needs_its_roles(images):
    with pytest.raises(ConfigError, match="at least one baseline"):
        kdlens.explain(None, kdlens.load_model("zoo:cnn8", classes=10), [], images)


def test_what_the_doctor_finds_stands_in_the_alerts(folder):
    (folder / "study.yaml").write_text(SHORT.replace("questions:", "doctor: true\nquestions:"))
    report = explain_file(folder / "study.yaml", out=folder / "out")
    assert any("accuracy:" in alert for alert in report.meta.alerts)  # nothing is trained here
    assert explain_file(folder / "study.yaml", out=folder / "out").meta.alerts == report.meta.alerts


def test_a_layer_named_output_does_not_hide_the_logits(images):
    def build(seed):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = torch.nn.Sequential()
            net.add_module("stem", torch.nn.Conv2d(3, 4, 3, 2, 1))
            net.add_module("output", torch.nn.Conv2d(4, 6, 3, 2, 1))
            net.add_module("head", torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6 * 64, 10)))
            return net.eval()

    student, baseline = build(0), build(1)
    report = kdlens.explain(None, student, baseline, images, layers=["output"], questions=["relevance", "accuracy"])
    assert report.meta.failed == {}
    x, y, _ = kdlens.Images(images).batch(torch.arange(len(images)))
    with torch.no_grad():
        right = student(x).argmax(1) == y
    assert report["accuracy"].value("top1", model="student", seed=0) == pytest.approx(
        100 * right.double().mean().item()
    )


def test_a_full_disk_ends_the_study_and_keeps_what_was_finished(folder, monkeypatch):
    (folder / "study.yaml").write_text(SHORT)
    study = study_from_file(folder / "study.yaml", out=folder / "out")
    saved = []
    save = type(study.folder).save_answer

    def until_full(self, answer, fingerprint):
        if saved:
            raise RunFolderError("the disk is full while writing answers")
        saved.append(answer.question)
        save(self, answer, fingerprint)

    monkeypatch.setattr(type(study.folder), "save_answer", until_full)
    with pytest.raises(RunFolderError, match="the disk is full"):
        study.run()
    monkeypatch.undo()
    said = []
    explain_file(folder / "study.yaml", out=folder / "out", say=said.append)
    assert [text for text in said if "unchanged" in text] == ["accuracy: unchanged, taken from the run folder"]


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_finished_and_says_so(folder):
    (folder / "study.yaml").write_text(UNICAM)
    command = [sys.executable, "-m", "kdlens", "explain", str(folder / "study.yaml"), "-o", str(folder / "out")]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finished = folder / "out/answers/accuracy/fingerprint.txt"
    deadline = time.monotonic() + 120
    while not finished.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130, said
    assert "the same command continues" in said
    assert "Traceback" not in said
    assert finished.exists()


@pytest.mark.slow
def test_a_killed_study_continues(folder):
    (folder / "study.yaml").write_text(UNICAM)
    command = [sys.executable, "-m", "kdlens", "explain", str(folder / "study.yaml"), "-o", str(folder / "out")]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    finished = folder / "out/answers/accuracy/fingerprint.txt"
    deadline = time.monotonic() + 120
    while not finished.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert finished.exists()
    said = []
    report = explain_file(folder / "study.yaml", out=folder / "out", say=said.append)
    assert "accuracy: unchanged, taken from the run folder" in said
    assert not report.meta.failed


@pytest.mark.slow
def test_two_processes_give_the_answers_of_one(finished, folder):
    """49 images, so that the processes do not get the same number."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "kdlens", "explain", str(folder / "study.yaml"), "-o", str(folder / "two"), "--quiet"]
    done = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    one, two = report_from_folder(finished.out), report_from_folder(folder / "two")
    assert two.meta.environment["processes"] == "2"
    for question in one.answers:
        for a, b in zip(one[question].rows, two[question].rows, strict=True):
            assert (a.metric, a.model, a.n) == (b.metric, b.model, b.n)
            assert a.value == pytest.approx(b.value, abs=1e-4, nan_ok=True)
        for name, array in one[question].arrays.items():
            torch.testing.assert_close(
                torch.from_numpy(array),
                torch.from_numpy(two[question].arrays[name]),
                atol=1e-4,
                rtol=1e-3,
                equal_nan=True,
            )


def test_without_torchvision_a_study_runs(folder):
    code = textwrap.dedent(f"""
        import sys

        class Hide:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {{"torchvision", "timm"}}:
                    raise ModuleNotFoundError(name)

        sys.meta_path.insert(0, Hide())
        from kdlens.study_file import explain_file
        report = explain_file({str(folder / "study.yaml")!r}, out={str(folder / "out")!r})
        sys.exit(len(report.meta.failed))
    """)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
