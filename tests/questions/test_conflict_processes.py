"""Two processes measure the same conflicts as one: batches are dealt to them whole."""

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
    from kdlens.nn import insert_vam
    from kdlens.questions.conflict.question import Conflict
    from kdlens.runtime import Runtime
    from kdlens.workbench import Workbench

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images = as_given(kdlens.Images([(torch.rand(3, 32, 32, generator=generator), i % 4) for i in range(50)]))
    image = images.batch(torch.tensor([0]))[0]
    subjects = []
    for name, role in (("baseline", "baseline"), ("kd", "student"), ("vam", "student")):
        torch.manual_seed(len(subjects))
        net = kdlens.load_model("zoo:resnet8" if name == "vam" else "zoo:hme_resnet8", classes=4)
        if name == "vam":
            for logits in insert_vam(net, ["layer3.0.conv2"]).parameters():
                torch.nn.init.normal_(logits)
        subjects.append(subject_of(Network(name, role, net.eval().requires_grad_(False)), image, "auto"))
    work = Workbench(subjects, images, seed=0, runtime=Runtime("cpu", batch_size=int(sys.argv[2])))
    answer = Conflict(batch_size=16, batches=3, permutations=9).answer(work)
    rows = [
        [r.metric, r.model, r.layer, r.seed, r.n, r.class_name, r.value, r.low, r.high, r.chance] for r in answer.rows
    ]
    found = {"rows": rows, "said": [f.text for f in answer.findings]}
    with open(f"{sys.argv[1]}-{work.runtime.processes.rank}.json", "w") as file:
        json.dump(found, file)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What each process found: of one, and of two, which also take other portions."""
    place = tmp_path_factory.mktemp("runs")
    (place / "script.py").write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher, portion in (("one", [], "64"), ("two", two, "2")):
        command = [sys.executable, *launcher, str(place / "script.py"), str(place / name), portion]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    return {name: json.loads((place / f"{name}.json").read_text()) for name in ("one-0", "two-0", "two-1")}


@pytest.mark.slow
def test_two_processes_answer_as_one(runs):
    one = runs["one-0"]
    assert len(one["rows"]) > 40
    for other in ("two-0", "two-1"):
        assert runs[other]["said"] == one["said"]
        for mine, theirs in zip(runs[other]["rows"], one["rows"], strict=True):
            assert mine[:6] == theirs[:6]
            assert [v is None for v in mine] == [v is None for v in theirs]
            numbers = [v for v in theirs[6:] if v is not None]
            assert [v for v in mine[6:] if v is not None] == pytest.approx(numbers, abs=1e-4, rel=1e-4, nan_ok=True)
