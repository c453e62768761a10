"""Two processes dissect as one does."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
    import json, sys, torch, kdlens
    from kdlens.data.images import as_given
    from kdlens.networks import Network, subject_of
    from kdlens.questions.dissection.question import DissectionQuestion
    from kdlens.runtime import Runtime
    from kdlens.workbench import Workbench

    torch.set_num_threads(1)
    images = as_given(kdlens.load_dataset("fashion-scenes", count=50))
    image = images.batch(torch.tensor([0]))[0]
    subjects = []
    for seed, (name, role) in enumerate((("baseline", "baseline"), ("kd", "student"))):
        torch.manual_seed(seed)
        network = kdlens.load_model("zoo:cnn8", classes=10)
        subjects.append(subject_of(Network(name, role, network), image, "auto"))
    work = Workbench(subjects, images, seed=0, runtime=Runtime("cpu"))
    answer = DissectionQuestion(images=45, shuffles=2, rotations=1, min_images=3, gallery=2).answer(work)
    found = {
        "rows": [[r.metric, r.model, r.layer, r.class_name, r.seed, r.n, r.value, r.low, r.high] for r in answer.rows],
        "said": [f.text for f in answer.findings],
        "arrays": {name: int(array.astype("int64").sum()) for name, array in answer.arrays.items()},
    }
    with open(f"{sys.argv[1]}-{work.runtime.processes.rank}.json", "w") as file:
        json.dump(found, file)
"""


@pytest.mark.slow
def test_two_processes_answer_as_one(tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", two)):
        command = [sys.executable, *launcher, str(tmp_path / "script.py"), str(tmp_path / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    one, *others = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one-0", "two-0", "two-1"))
    assert any(row[0] == "detectors" and row[6] > 0 for row in one["rows"])  # something was found
    assert others == [one, one]
