"""A training that is stopped anywhere and continued gives bit for bit what an uninterrupted one gives."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
import torch

from kdlens.errors import KdlensError, RunFolderError
from kdlens.models.weights import read_weights
from kdlens.training.api import distill
from kdlens.training.losses import LOSSES

METHODS = LOSSES.names()


class StopError(Exception):
    pass


def stop_after(steps):
    """A listener that stops the training after so many updates."""
    left = [steps]

    def listener(event):
        if event.kind == "step":
            left[0] -= 1
            if left[0] == 0:
                raise StopError

    return listener


def contents(folder):
    """Everything in a training's folder, but for the times."""
    found = {}
    for file in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        name = str(file.relative_to(folder))
        if file.suffix == ".safetensors" and file.name != "state.safetensors":
            found[name] = {k: v.tolist() for k, v in read_weights(file).items()}
        elif file.name == "history.csv":
            lines = [line.split(",") for line in file.read_text().splitlines()]
            time = lines[0].index("seconds")
            found[name] = [line[:time] + line[time + 1 :] for line in lines]
        elif file.suffix == ".csv":
            found[name] = file.read_text()
    return found


def without_time(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def train(method, network, out, data, **options):
    width = 4 if method == "layer-mse" else 8  # it compares layers of one width
    teacher = None if method == "self-distillation" else network(width, seed=1)
    student = network(4, dropout=0.3)
    settings = {"epochs": 3, "batch_size": 12, "augment": "crop-flip", "validation": data, "record_epochs": "all"}
    return distill(teacher, student, data, method=method, out=out, seed=4, **{**settings, **options})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop", [1, 4, 6, 9])
def test_stopped_and_continued_equals_straight(method, stop, data, make_network, tmp_path):
    """40 images in batches of 12 are 4 updates an epoch, with a state after every second of them."""
    straight = train(method, make_network, tmp_path / "straight", data, save_every=2)
    with pytest.raises(StopError):
        train(method, make_network, tmp_path / "stopped", data, save_every=2, progress=stop_after(stop))
    continued = train(method, make_network, tmp_path / "stopped", data, save_every=2)
    assert contents(tmp_path / "straight") == contents(tmp_path / "stopped")
    assert without_time(straight.history) == without_time(continued.history)
    assert torch.equal(straight.path_lengths.per_step, continued.path_lengths.per_step)
    assert torch.equal(straight.path_lengths.per_epoch, continued.path_lengths.per_epoch)
    for name, tensor in straight.loss.state_dict().items():
        assert torch.equal(tensor, continued.loss.state_dict()[name])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_every_optimizer_and_precision_continues_exactly(optimizer, precision, data, make_network, tmp_path):
    options = {"optimizer": optimizer, "precision": precision, "clip": 1.0, "schedule": "one-cycle"}
    train("kd", make_network, tmp_path / "straight", data, **options)
    with pytest.raises(StopError):
        train("kd", make_network, tmp_path / "stopped", data, progress=stop_after(7), **options)
    train("kd", make_network, tmp_path / "stopped", data, **options)
    assert contents(tmp_path / "straight") == contents(tmp_path / "stopped")


def test_stopped_again_and_again(data, make_network, tmp_path):
    train("fitnet", make_network, tmp_path / "straight", data, save_every=1)
    stops = 0
    while True:
        try:
            train("fitnet", make_network, tmp_path / "stopped", data, save_every=1, progress=stop_after(2))
            break
        except StopError:
            stops += 1
    assert stops >= 6
    assert contents(tmp_path / "straight") == contents(tmp_path / "stopped")


def test_a_finished_training_is_not_done_again(data, make_network, tmp_path):
    first = train("fitnet", make_network, tmp_path / "run", data)
    events = []
    second = train("fitnet", make_network, tmp_path / "run", data, progress=events.append)
    assert [e.kind for e in events] == ["start", "end"]
    assert first.history == second.history
    assert torch.equal(first.path_lengths.per_step, second.path_lengths.per_step)
    for one, other in ((first.network, second.network), (first.loss, second.loss)):
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
            assert torch.equal(a, b)


SCRIPT = """
    import os, signal, sys, torch
    sys.path.insert(0, {here!r})
    from conftest import small_data, small_network
    from kdlens.training.api import distill

    torch.set_num_threads(1)
    out, method, kill_step, kill_sync = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    steps, syncs, fsync = [0], [0], os.fsync

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def listener(event):
        steps[0] += event.kind == "step"
        if kill_step and steps[0] == kill_step:
            die()

    def counted(handle):
        syncs[0] += 1
        if syncs[0] == kill_sync:
            die()  # the new file is written but not yet in its place
        fsync(handle)

    os.fsync = counted
    data = small_data()
    distill(
        small_network(8, seed=1), small_network(4, dropout=0.3), data, method=method, out=out, seed=4, epochs=3,
        batch_size=12, augment="crop-flip", validation=data, record_epochs="all", save_every=2, progress=listener,
    )
"""


def run_script(out, method="fitnet", kill_step=0, kill_sync=0):
    code = textwrap.dedent(SCRIPT).format(here=str(Path(__file__).parent))
    command = [sys.executable, "-c", code, str(out), method, str(kill_step), str(kill_sync)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def killed_in_a_fork(work):
    """Run `work` in a copy of this process; whether it was killed with signal 9."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def killed_while_writing(number, work):
    """Whether `work` was killed at its `number`-th file, written in full but not yet moved into place."""

    def counting():
        files, fsync = [0], os.fsync

        def kill(handle):
            files[0] += 1
            if files[0] == number:
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(handle)

        os.fsync = kill
        work()

    return killed_in_a_fork(counting)


@pytest.mark.parametrize("method", ["fitnet", "self-distillation"])
def test_killed_while_writing_any_file_and_continued_equals_straight(method, data, make_network, tmp_path):
    options = {"epochs": 2, "batch_size": 20}
    train(method, make_network, tmp_path / "straight", data, **options)
    files = 0
    while True:
        place = tmp_path / str(files)
        work = partial(train, method, make_network, place, data, **options)
        if not killed_while_writing(files + 1, work):
            break
        work()
        assert contents(place) == contents(tmp_path / "straight")
        assert not list(place.rglob(".*"))
        files += 1
    assert files >= 12


@pytest.mark.slow
@pytest.mark.parametrize(("step", "sync"), [(5, 0), (0, 7)])
def test_a_killed_program_continues_when_it_is_started_again(step, sync, data, make_network, tmp_path):
    killed = run_script(tmp_path / "killed", kill_step=step, kill_sync=sync)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    continued = run_script(tmp_path / "killed")
    assert continued.returncode == 0, continued.stderr
    train("fitnet", make_network, tmp_path / "straight", data, save_every=2)
    assert contents(tmp_path / "straight") == contents(tmp_path / "killed")


def test_other_settings_are_refused_and_named(data, make_network, tmp_path):
    train("kd", make_network, tmp_path / "run", data)
    with pytest.raises(RunFolderError, match=r"other settings: training.epochs was 3, now 4; .*Give another folder"):
        train("kd", make_network, tmp_path / "run", data, epochs=4)
    with pytest.raises(RunFolderError, match=r"method.temperature was 4.0, now 2.0"):
        train("kd", make_network, tmp_path / "run", data, temperature=2.0)


def test_another_teacher_or_other_images_are_refused(data, make_network, make_data, tmp_path):
    def run(teacher_seed, images):
        distill(make_network(8, seed=teacher_seed), make_network(4), images, epochs=1, out=tmp_path / "run")

    run(1, data)
    run(1, data)
    with pytest.raises(RunFolderError, match=r"teacher.weights was \w+, now \w+"):
        run(2, data)
    with pytest.raises(RunFolderError, match=r"images.fingerprint was"):
        run(1, make_data(seed=5))


def test_an_unseeded_student_is_told_how_to_continue(data, make_network, tmp_path):
    distill(None, make_network(4, seed=1), data, method="labels", epochs=2, out=tmp_path / "run")
    with pytest.raises(RunFolderError, match=r"kdlens.load_weights\(student, .*epoch-000.safetensors"):
        distill(None, make_network(4, seed=2), data, method="labels", epochs=2, out=tmp_path / "run")
    from kdlens.models.weights import load_weights

    student = make_network(4, seed=2)
    load_weights(student, tmp_path / "run/checkpoints/epoch-000.safetensors")
    distill(None, student, data, method="labels", epochs=2, out=tmp_path / "run")


def test_overwriting_must_be_asked_for(data, make_network, tmp_path):
    train("kd", make_network, tmp_path / "run", data, epochs=3)
    result = train("kd", make_network, tmp_path / "run", data, epochs=2, overwrite=True)
    assert len(result.history) == 2
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == [
        f"epoch-00{i}.safetensors" for i in range(3)
    ]


def test_foreign_folders_and_files_are_left_alone(data, make_network, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(RunFolderError, match="is not empty and holds no training"):
            train("labels", make_network, tmp_path, data, overwrite=overwrite)
    with pytest.raises(RunFolderError, match="is a file; give a folder"):
        train("labels", make_network, tmp_path / "thesis.txt", data)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_full_disk_says_so_and_costs_nothing_that_was_stored(data, make_network, tmp_path, monkeypatch):
    import errno

    real, calls = os.fsync, [0]

    def full(handle):
        calls[0] += 1
        if calls[0] > 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KdlensError, match=r"(?i)the disk is full|no space left"):
        train("kd", make_network, tmp_path / "run", data)
    monkeypatch.undo()
    train("kd", make_network, tmp_path / "run", data)
    train("kd", make_network, tmp_path / "straight", data)
    assert contents(tmp_path / "run") == contents(tmp_path / "straight")


def test_a_damaged_state_is_named(data, make_network, tmp_path):
    with pytest.raises(StopError):
        train("kd", make_network, tmp_path / "run", data, progress=stop_after(5))
    state = tmp_path / "run/state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(RunFolderError, match=r"state.safetensors cannot be read .*overwrite=True"):
        train("kd", make_network, tmp_path / "run", data)


def test_the_folder_says_what_made_it(data, make_network, tmp_path):
    train("kd", make_network, tmp_path / "run", data, record_epochs=[2])
    about = json.loads((tmp_path / "run/training.json").read_text())
    assert about["settings"]["method"] == {"name": "kd", "temperature": 4.0, "alpha": 0.9}
    assert about["settings"]["training"]["seed"] == 4
    assert {"kdlens", "torch", "python"} <= set(about["made_with"])
    names = sorted(str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*") if p.is_file())
    assert names == [
        "checkpoints/epoch-000.safetensors",
        "checkpoints/epoch-002.safetensors",
        "history.csv",
        "path_lengths.csv",
        "state.safetensors",
        "student.safetensors",
        "training.json",
    ]


def test_checkpoints_are_the_student_of_their_epoch(data, make_network, tmp_path):
    short, full = (
        distill(
            None,
            make_network(4),
            data,
            method="labels",
            epochs=epochs,
            schedule="constant",
            out=tmp_path / str(epochs),
            record_epochs="all",
        )
        for epochs in (1, 2)
    )
    kept = read_weights(tmp_path / "2/checkpoints/epoch-001.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in short.network.state_dict().items())
    final = read_weights(tmp_path / "2/student.safetensors")
    assert all(torch.equal(final[name], tensor) for name, tensor in full.network.state_dict().items())
