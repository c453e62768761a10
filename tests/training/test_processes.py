"""Two processes train the network one process trains."""

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from kdlens.models.weights import read_weights
from kdlens.training.api import distill

METHODS = {
    "kd": {},
    "at": {"clip": 1.0},
    "fitnet": {"hint_epochs": 1, "beta": 1.0},
    "layer-mse": {"layer": "layer2.0"},
    "self-distillation": {},
}
SHORT_HINTS = {"beta": 1.0}  # of the training that is stopped
SCRIPT = """
    import os, signal, sys, torch
    sys.path.insert(0, {here!r})
    from conftest import small_data, small_network
    from kdlens.training.api import distill

    torch.set_num_threads(1)
    kill_step, jobs = int(sys.argv[1]), eval(sys.argv[2])

    def listener(event):
        if event.kind == "step" and event.epoch * event.steps + event.step == kill_step:
            os.kill(os.getppid(), signal.SIGKILL)  # the launcher, then ourselves; the other process loses its peer
            os.kill(os.getpid(), signal.SIGKILL)

    for out, method, options in jobs:
        width = 4 if method == "layer-mse" else 8
        teacher = None if method == "self-distillation" else small_network(width, seed=1, norm=False)
        result = distill(teacher, small_network(4, norm=False), small_data(39), method=method, out=out, epochs=2,
                         batch_size=12, augment="crop-flip", validation=small_data(7, seed=9), save_every=1,
                         progress=listener, device="cpu", **options)
        if os.environ["RANK"] == "0":
            last = result.history[-1]
            print("LOSS", os.path.basename(out), last["loss"], last["validation_top1"], flush=True)
"""


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def launch(processes, jobs, *, kill_step=0):
    """Train all jobs, each (folder, method, options), in the same processes."""
    code = Path(jobs[0][0]).with_suffix(".py")
    code.write_text(textwrap.dedent(SCRIPT).format(here=str(Path(__file__).parent)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    launcher += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    command = [*launcher, str(code), str(kill_step), repr([(str(out), *rest) for out, *rest in jobs])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Folder of everything two processes train, by method, and what they printed; "straight" is never stopped."""
    folder = tmp_path_factory.mktemp("two")
    jobs = [(folder / method, method, options) for method, options in METHODS.items()]
    launched = launch(2, [*jobs, (folder / "straight", "fitnet", SHORT_HINTS)])
    assert launched.returncode == 0, launched.stderr
    return folder, launched.stdout


def close(one, other):
    return all(torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-5) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_are_one_uneven_shards_included(method, two, make_network, make_data, tmp_path):
    """39 images in batches of 12 leave a last batch of 3: two for one process, one for the other."""
    folder, printed = two
    width = 4 if method == "layer-mse" else 8
    teacher = None if method == "self-distillation" else make_network(width, seed=1, norm=False)
    alone = distill(
        teacher,
        make_network(4, norm=False),
        make_data(39),
        method=method,
        out=tmp_path / "one",
        epochs=2,
        batch_size=12,
        augment="crop-flip",
        validation=make_data(7, seed=9),
        **METHODS[method],
    )
    one, other = (read_weights(place / "student.safetensors") for place in (tmp_path / "one", folder / method))
    assert close(one, other)
    assert not close(one, read_weights(tmp_path / "one/checkpoints/epoch-000.safetensors"))
    _, _, loss, top1 = next(line for line in printed.splitlines() if line.startswith(f"LOSS {method} ")).split()
    assert float(loss) == pytest.approx(alone.history[-1]["loss"], rel=1e-4)
    assert float(top1) == pytest.approx(alone.history[-1]["validation_top1"])


@pytest.mark.slow
def test_more_processes_than_images_in_the_last_batch(make_network, make_data, tmp_path):
    """A last batch of 3 over 4 processes leaves one of them without an image."""
    launched = launch(4, [(tmp_path / "four", "kd", {})])
    assert launched.returncode == 0, launched.stderr
    distill(
        make_network(8, seed=1, norm=False),
        make_network(4, norm=False),
        make_data(39),
        out=tmp_path / "one",
        epochs=2,
        batch_size=12,
        augment="crop-flip",
    )
    one, four = (read_weights(tmp_path / name / "student.safetensors") for name in ("one", "four"))
    assert close(one, four)


@pytest.mark.slow
def test_two_processes_that_were_stopped_continue_exactly(two, tmp_path):
    folder, _ = two
    job = (tmp_path / "stopped", "fitnet", SHORT_HINTS)
    assert launch(2, [job], kill_step=6).returncode != 0
    assert not (tmp_path / "stopped/student.safetensors").exists()
    continued = launch(2, [job])
    assert continued.returncode == 0, continued.stderr
    one, other = (read_weights(place / "student.safetensors") for place in (tmp_path / "stopped", folder / "straight"))
    assert all(torch.equal(one[name], other[name]) for name in one)
