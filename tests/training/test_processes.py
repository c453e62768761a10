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

SCRIPT = """
    import os, signal, sys, torch
    sys.path.insert(0, {here!r})
    from conftest import small_data, small_network
    from kdlens.training.api import distill

    torch.set_num_threads(1)
    out, method, kill_step, options = sys.argv[1], sys.argv[2], int(sys.argv[3]), eval(sys.argv[4])

    def listener(event):
        if event.kind == "step" and event.epoch * event.steps + event.step == kill_step:
            os.kill(os.getppid(), signal.SIGKILL)  # the launcher, then ourselves; the other process loses its peer
            os.kill(os.getpid(), signal.SIGKILL)

    width = 4 if method == "layer-mse" else 8
    teacher = None if method == "self-distillation" else small_network(width, seed=1, norm=False)
    result = distill(teacher, small_network(4, norm=False), small_data(39), method=method, out=out, epochs=2,
                     batch_size=12, augment="crop-flip", validation=small_data(7, seed=9), save_every=1,
                     progress=listener, device="cpu", **options)
    if os.environ["RANK"] == "0":
        print("LOSS", result.history[-1]["loss"], result.history[-1]["validation_top1"], flush=True)
"""


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def launch(processes, out, method, *, kill_step=0, options=None):
    code = Path(out).with_suffix(".py")
    code.write_text(textwrap.dedent(SCRIPT).format(here=str(Path(__file__).parent)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    launcher += ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    command = [*launcher, str(code), str(out), method, str(kill_step), repr(options or {})]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


def close(one, other):
    return all(torch.allclose(one[name], other[name], rtol=1e-4, atol=1e-5) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("kd", {}),
        ("at", {"clip": 1.0}),
        ("fitnet", {"hint_epochs": 1, "beta": 1.0}),
        ("layer-mse", {"layer": "layer2.0"}),
        ("self-distillation", {}),
    ],
)
def test_two_processes_are_one_uneven_shards_included(method, options, make_network, make_data, tmp_path):
    """39 images in batches of 12 leave a last batch of 3: two for one process, one for the other."""
    launched = launch(2, tmp_path / "two", method, options=options)
    assert launched.returncode == 0, launched.stderr
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
        **options,
    )
    one, two = (read_weights(tmp_path / name / "student.safetensors") for name in ("one", "two"))
    assert close(one, two)
    assert not close(one, read_weights(tmp_path / "one/checkpoints/epoch-000.safetensors"))
    _, loss, top1 = next(line for line in launched.stdout.splitlines() if line.startswith("LOSS")).split()
    assert float(loss) == pytest.approx(alone.history[-1]["loss"], rel=1e-4)
    assert float(top1) == pytest.approx(alone.history[-1]["validation_top1"])


@pytest.mark.slow
def test_more_processes_than_images_in_the_last_batch(make_network, make_data, tmp_path):
    """A last batch of 3 over 4 processes leaves one of them without an image."""
    launched = launch(4, tmp_path / "four", "kd")
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
def test_two_processes_that_were_stopped_continue_exactly(tmp_path):
    options = {"beta": 1.0}
    assert launch(2, tmp_path / "stopped", "fitnet", kill_step=6, options=options).returncode != 0
    assert not (tmp_path / "stopped/student.safetensors").exists()
    continued = launch(2, tmp_path / "stopped", "fitnet", options=options)
    straight = launch(2, tmp_path / "straight", "fitnet", options=options)
    assert continued.returncode == straight.returncode == 0, continued.stderr
    one, other = (read_weights(tmp_path / name / "student.safetensors") for name in ("stopped", "straight"))
    assert all(torch.equal(one[name], other[name]) for name in one)
