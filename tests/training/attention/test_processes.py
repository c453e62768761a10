"""Two processes train the attention that one process trains."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kdlens.models.weights import read_weights
from kdlens.training.api import distill

SETTINGS = {"epochs": 2, "clip": 1.0, "batch_size": 12, "path_layers": (), "device": "cpu"}
JOBS = {
    "waits": ("hme", "binary-kd", {"entropy": 0.3, "lr": 0.2, "from_epoch": 1, "temperature": {"start": 2, "end": 1}}),
    "two": ("hme", "labels", {"stages": 2, "lr": 1.0, "temperature": 0.5}),
    "hard": ("hme", "kd", {"temperature": 0}),
    "virtual": ("vam", "kd", {"entropy": 0.3, "lr": 0.2, "temperature": {"start": 2.0, "schedule": "inverse"}}),
    "virtual waits": ("vam", "at", {"from_epoch": 1}),
}
SCRIPT = """
import sys, torch
from pathlib import Path
from kdlens.training.api import distill

torch.set_num_threads(1)
place, jobs, settings = Path(sys.argv[1]), eval(sys.argv[2]), eval(sys.argv[3])
things = torch.load(place / "things.pt", weights_only=False)
for name, (kind, method, attention) in jobs.items():
    student, teacher = (things[key] for key in (name, "teacher"))
    distill(teacher, student, things["data"], method=method, attention=attention, out=place / name, **settings)
"""


def launch(place):
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    (place / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1"]
    command += ["--master-port", str(port), str(place / "script.py"), str(place), repr(JOBS), repr(SETTINGS)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)


def without_norm(network):
    """BatchNorm sees the images of its own process only, which is no matter here."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, torch.nn.BatchNorm2d):
                setattr(module, name, torch.nn.Identity())
    return network


@pytest.mark.slow
def test_two_processes_are_one(tiny_hme, vam_network, make_network, make_data, tmp_path):
    """39 images in batches of 12 leave a last batch of 3: two for one process, one for the other."""
    students = {"hme": tiny_hme, "vam": vam_network}
    things = {"teacher": without_norm(make_network(8, seed=1)), "data": make_data(39)}
    things |= {name: without_norm(students[kind]()) for name, (kind, _, _) in JOBS.items()}
    torch.save(things, tmp_path / "things.pt")
    launched = launch(tmp_path)
    assert launched.returncode == 0, launched.stderr
    for name, (_, method, attention) in JOBS.items():
        alone, asked = tmp_path / "alone" / name, {"method": method, "attention": attention}
        distill(things["teacher"], things[name], things["data"], out=alone, **asked, **SETTINGS)
        one, two = (read_weights(Path(folder) / "student.safetensors") for folder in (alone, tmp_path / name))
        start = read_weights(alone / "checkpoints/epoch-000.safetensors")
        assert all(torch.allclose(one[key], two[key], rtol=1e-4, atol=1e-5) for key in one)
        assert not all(torch.allclose(one[key], start[key], rtol=1e-4, atol=1e-5) for key in one)
