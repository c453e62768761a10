"""Studies that name the trainings of their networks: read, checked, fingerprinted, and run at every checkpoint."""

import copy
import gc
import os
import shutil
import subprocess
import sys
import textwrap
import weakref
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import kdlens
from kdlens.answer import Answer, Notes, Row
from kdlens.data.images import Images, as_given
from kdlens.errors import ConfigError, HistoryError, KdlensError
from kdlens.models.history import read_history
from kdlens.models.weights import read_weights, weights_fingerprint
from kdlens.networks import Network, subject_of, with_training
from kdlens.questions import QUESTIONS
from kdlens.runtime import Runtime
from kdlens.study_file import explain_file, study_from_file
from kdlens.workbench import Workbench

STUDY = """
data: {name: fashion-scenes, split: test, count: 64}
models:
  baseline:
    arch: zoo:cnn8
    weights: [baseline-0/student.safetensors, baseline-1/student.safetensors]
    training: [baseline-0, baseline-1]
  students:
    kd: {arch: "zoo:cnn8", weights: kd/student.safetensors, training: kd}
questions: [moments]
"""


@dataclass(frozen=True)
class Moments:
    """How sure is every network at every checkpoint?"""

    name: ClassVar[str] = "moments"

    def answer(self, context):
        answer = Answer(self.name, Notes("How sure?"))
        for subject in context.subjects:
            path = subject.history.path(subject.layers[-1])
            for at, checkpoint in enumerate(subject.history.checkpoints):
                earlier = context.at(subject, checkpoint)
                sure = float(context.logits(earlier).softmax(1).amax(1).mean())
                place = f"{checkpoint.epoch} {path[at]:.4f}"
                answer.add(Row("sure", sure, model=subject.name, seed=subject.seed, layer=place, n=len(context.labels)))
        return answer


@pytest.fixture(autouse=True)
def question(monkeypatch):
    monkeypatch.setitem(QUESTIONS._loaded, "moments", Moments)


@pytest.fixture(scope="module")
def images():
    return kdlens.load_dataset("fashion-scenes", count=64)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, images):
    """Three small trainings of two epochs."""
    place = tmp_path_factory.mktemp("trained")
    networks = {}
    for seed, name in enumerate(("baseline-0", "baseline-1", "kd")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = kdlens.load_model("zoo:cnn8", classes=10)
        options = {"method": "labels", "epochs": 2, "record_epochs": "all", "seed": seed, "out": place / name}
        networks[name] = kdlens.distill(None, network, images, **options).network
    (place / "study.yaml").write_text(STUDY)
    return place, networks


@pytest.fixture
def folder(trained, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(trained[0], tmp_path / "study", dirs_exist_ok=True)
    return tmp_path / "study"


def bench(network, images, history):
    image = images.batch(torch.tensor([0]))[0]
    subject = subject_of(Network("kd", "student", network, history=history), image, "auto")
    return Workbench([subject], images, seed=0, runtime=Runtime("cpu")), subject


@pytest.fixture
def workbench(trained, images):
    place, networks = trained
    history = read_history(place / "kd").of(networks["kd"])
    return bench(networks["kd"], as_given(images), history)


def test_every_checkpoint_is_run_as_it_was_kept(workbench, trained):
    work, subject = workbench
    for checkpoint in subject.history.checkpoints:
        network = kdlens.load_model("zoo:cnn8", classes=10)
        kdlens.load_weights(network, trained[0] / f"kd/checkpoints/epoch-00{checkpoint.epoch}.safetensors")
        with torch.no_grad():
            expected = network(work.batch(torch.arange(64)).images)
        torch.testing.assert_close(work.logits(work.at(subject, checkpoint)), expected)


def test_the_network_itself_is_not_touched(workbench):
    work, subject = workbench
    before, modes = weights_fingerprint(subject.network), [m.training for m in subject.network.modules()]
    flags = [p.requires_grad for p in subject.network.parameters()]
    final = work.logits(subject)
    earlier = work.at(subject, subject.history.checkpoints[0])
    assert earlier.network is not subject.network
    assert (earlier.name, earlier.role, earlier.seed, earlier.layers) == ("kd", "student", 0, subject.layers)
    assert not torch.equal(work.logits(earlier), final)
    assert not any(p.requires_grad for p in earlier.network.parameters())
    assert not earlier.network.training
    assert weights_fingerprint(subject.network) == before
    assert [m.training for m in subject.network.modules()] == modes
    assert [p.requires_grad for p in subject.network.parameters()] == flags
    assert torch.equal(work.logits(subject), final)


def test_the_same_moment_is_the_same_subject_and_the_one_before_is_gone(workbench):
    work, subject = workbench
    first, second, _ = subject.history.checkpoints
    earlier = work.at(subject, first)
    assert work.at(subject, first) is earlier
    work.logits(earlier)
    work.activations(earlier, torch.arange(8), subject.layers)
    copies = weakref.ref(earlier.network)
    del earlier
    work.at(subject, second)
    gc.collect()
    assert copies() is None


def test_an_answer_from_every_checkpoint_and_its_path(trained, tmp_path):
    place, _ = trained
    report = explain_file(place / "study.yaml", out=tmp_path / "out")
    assert report.meta.failed == {}
    assert report.meta.alerts == []
    rows = report["moments"].rows
    assert [(r.model, r.seed) for r in rows] == [("baseline", 0)] * 3 + [("baseline", 1)] * 3 + [("kd", 0)] * 3
    assert [r.layer.split()[0] for r in rows[:3]] == ["0", "1", "2"]
    path = read_history(place / "baseline-1").path("layer3")
    assert [r.layer.split()[1] for r in rows[3:6]] == [f"{x:.4f}" for x in path]


def said_by(folder):
    said = []
    explain_file(folder / "study.yaml", out=folder / "out", say=said.append)
    return said


def test_another_checkpoint_is_another_answer(folder):
    assert "moments: computing" in said_by(folder)
    assert "moments: unchanged, taken from the run folder" in said_by(folder)
    kept = folder / "kd/checkpoints/epoch-001.safetensors"
    kept.write_bytes((folder / "kd/checkpoints/epoch-000.safetensors").read_bytes())
    said = said_by(folder)
    assert "moments: computing" in said
    assert any("another study (training changed)" in text for text in said)
    table = folder / "kd/path_lengths.csv"
    *lines, last = table.read_text().splitlines()
    epoch, layer, _, *rest = last.split(",")
    table.write_text("\n".join([*lines, ",".join([epoch, layer, "99.0", *rest])]) + "\n")
    assert "moments: computing" in said_by(folder)


def test_python_and_file_answer_alike(trained, images, tmp_path):
    place, nets = trained
    baselines = [nets["baseline-0"], nets["baseline-1"]]
    folders = [place / "baseline-0", place / "baseline-1"]
    scenes = Images(images, mean=images.mean, std=images.std)
    by_file = explain_file(place / "study.yaml", out=tmp_path / "out")
    history = read_history(place / "kd")
    listed = [(c.tensors, w) for c, w in zip(history.checkpoints, history.path("layer3").tolist(), strict=True)]
    for kd in (place / "kd", [str(place / "kd")], history, listed):
        training = {"baseline": folders, "student": kd}
        report = kdlens.explain(None, nets["kd"], baselines, scenes, training=training, questions=["moments"])
        assert report.meta.failed == {}
        assert [r.value for r in report["moments"].rows] == [r.value for r in by_file["moments"].rows]


def test_students_have_their_trainings_by_name(trained, images):
    place, nets = trained
    networks = [
        Network("baseline", "baseline", nets["baseline-0"]),
        *(Network("kd", "student", nets["kd"], seed) for seed in (0, 1)),
        Network("fitnet", "student", nets["kd"]),
    ]
    given = with_training(networks, {"kd": [place / "kd", place / "baseline-1"], "baseline": place / "baseline-0"})
    assert [None if n.history is None else n.history.name for n in given] == [
        str(place / "baseline-0"),
        str(place / "kd"),
        str(place / "baseline-1"),
        None,
    ]


def test_what_does_not_fit_is_said_before_anything_is_computed(trained, images, tmp_path):
    place, nets = trained
    baselines = [nets["baseline-0"], nets["baseline-1"]]
    wide = kdlens.load_model("zoo:cnn16", classes=10)
    kd = place / "kd"
    for training, error, message in [
        ({"baseline": [kd]}, ConfigError, 'there are 2 networks "baseline" and 1 training of it; give a list with one'),
        ({"baseline": kd}, ConfigError, 'there are 2 networks "baseline" and 1 training of it'),
        ({"baseline": [kd, kd, kd]}, ConfigError, 'there are 2 networks "baseline" and 3 trainings of it'),
        ({"baselin": kd}, ConfigError, 'training is given for "baselin"; did you mean "baseline"?'),
        ({"student": place / "nowhere"}, HistoryError, "student: there is no folder .*nowhere"),
        (
            {"student": place},
            HistoryError,
            "student: .* it holds baseline-0, baseline-1, kd: give one folder a network",
        ),
        ({"student": [(wide, 0.0), (nets["kd"], 0.1)]}, HistoryError, "student: .*mixes different networks"),
        ({"student": [(wide, 0.0), (copy.deepcopy(wide), 0.1)]}, HistoryError, "student: .*another network than this"),
        ({"baseline": [kd, 5]}, HistoryError, r"baseline \(seed 1\): a training is given as its folder"),
    ]:
        with pytest.raises(error, match=message):
            kdlens.explain(None, nets["kd"], baselines, images, training=training, questions=["accuracy"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[baseline-0, baseline-1]", "[baseline-0]"), "models.baseline: names 2 weights files and 1 of training"),
        (
            ("training: kd}", "training: [kd, kd]}"),
            "models.students.kd: names 1 weights file and 2 of training; give one",
        ),
        (("training: kd}", "training: 5}"), "models.students.kd.training: expected a text or a list, got 5"),
        (("training: kd}", "trainings: kd}"), 'unknown key; did you mean "training"?'),
        (("training: kd}", "training: dk}"), "kd: there is no folder"),
    ],
)
def test_a_study_file_that_names_the_wrong_trainings(folder, change, message):
    (folder / "study.yaml").write_text(STUDY.replace(*change))
    with pytest.raises(KdlensError) as caught:
        study_from_file(folder / "study.yaml")
    assert message in str(caught.value)


def test_folders_that_were_mixed_up_are_an_alert(folder):
    (folder / "study.yaml").write_text(STUDY.replace("[baseline-0, baseline-1]\n  s", "[baseline-1, baseline-1]\n  s"))
    report = explain_file(folder / "study.yaml", out=folder / "out")
    assert [
        text for text in report.meta.alerts if "last checkpoint of the training of baseline has other weights" in text
    ]
    assert len(report.meta.alerts) == 1


def test_a_question_about_learning_fails_alone_where_no_path_was_recorded(folder):
    (folder / "kd/path_lengths.csv").unlink()
    (folder / "study.yaml").write_text(STUDY.replace("[moments]", "[moments, accuracy]"))
    report = explain_file(folder / "study.yaml", out=folder / "out")
    assert "has no path lengths" in report.meta.failed["moments"]
    assert "accuracy" in report.answers


SCRIPT = """
    import sys, torch, kdlens
    from kdlens.data.images import as_given
    from kdlens.models.history import read_history
    from kdlens.models.weights import save_weights
    from kdlens.networks import Network, subject_of
    from kdlens.runtime import Runtime
    from kdlens.workbench import Workbench

    network = kdlens.load_model("zoo:cnn8", classes=10, weights=sys.argv[1] + "/student.safetensors")
    images = as_given(kdlens.load_dataset("fashion-scenes", count=33))
    image = images.batch(torch.tensor([0]))[0]
    subject = subject_of(Network("kd", "student", network, history=read_history(sys.argv[1])), image, "auto")
    work = Workbench([subject], images, seed=0, runtime=Runtime("cpu"))
    found = [work.logits(work.at(subject, checkpoint)) for checkpoint in subject.history.checkpoints]
    if work.runtime.processes.is_main:
        torch.save({"found": torch.stack(found)}, sys.argv[2])
"""


@pytest.mark.slow
def test_two_processes_give_the_answers_of_one(trained, tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", several)):
        command = [sys.executable, *launcher, str(tmp_path / "script.py"), str(trained[0] / "kd"), str(tmp_path / name)]
        done = subprocess.run(command, env=environment, timeout=300, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    one, two = (torch.load(tmp_path / name)["found"] for name in ("one", "two"))
    assert one.shape == (3, 33, 10)
    torch.testing.assert_close(one, two)


def test_checkpoints_are_not_changed_by_looking(workbench, trained):
    work, subject = workbench
    before = read_weights(trained[0] / "kd/checkpoints/epoch-001.safetensors")
    work.logits(work.at(subject, subject.history.checkpoints[1]))
    after = read_weights(trained[0] / "kd/checkpoints/epoch-001.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
