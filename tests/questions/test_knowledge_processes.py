"""Two processes decide, measure and count as one does."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

SCRIPT = """
    import json, sys, torch, kdlens
    from kdlens.errors import ConfigError
    from kdlens.models.history import as_history
    from kdlens.data.images import as_given
    from kdlens.networks import Network, subject_of
    from kdlens.questions.dynamics.question import Dynamics
    from kdlens.questions.knowledge.question import Knowledge
    from kdlens.runtime import Runtime
    from kdlens.workbench import Workbench

    torch.set_num_threads(1)

    def network(seed):
        torch.manual_seed(seed)
        return kdlens.load_model("zoo:cnn8", classes=10)

    images = as_given(kdlens.load_dataset("fashion-scenes", count=40))
    image = images.batch(torch.tensor([0]))[0]
    subjects = []
    for seed, (name, role) in enumerate((("baseline", "baseline"), ("kd", "student"))):
        nets = [network(3 * seed + moment) for moment in range(3)]
        history = as_history([(net, 0.5 * moment) for moment, net in enumerate(nets)])
        subjects.append(subject_of(Network(name, role, nets[-1], history=history), image, "auto"))
    work = Workbench(subjects, images, seed=0, runtime=Runtime("cpu"))
    rank, found = work.runtime.processes.rank, {}
    options = dict(images=10, grid=4, probes=16, threshold=0.02, gallery=2, backend="linear")
    for question in (Knowledge(**options), Dynamics(**options)):
        answer = question.answer(work)
        rows = [[r.metric, r.model, r.layer, r.seed, r.n, r.value, r.low, r.high] for r in answer.rows]
        found[question.name] = {"rows": rows, "said": [f.text for f in answer.findings], "options": str(answer.notes)}

    calls = []
    found["once"] = work.once(lambda: calls.append(rank) or {"who": rank})
    found["calls"] = calls

    def refuse():
        if rank == 0:
            raise ConfigError("no such thing")

    try:
        work.once(refuse)
    except kdlens.KdlensError as error:
        found["failed"] = str(error)
    with open(f"{sys.argv[1]}-{rank}.json", "w") as file:
        json.dump(found, file)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What each process found: of one, and of two."""
    place = tmp_path_factory.mktemp("runs")
    (place / "script.py").write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, launcher in (("one", []), ("two", two)):
        command = [sys.executable, *launcher, str(place / "script.py"), str(place / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
    return {name: json.loads((place / f"{name}.json").read_text()) for name in ("one-0", "two-0", "two-1")}


@pytest.mark.slow
@pytest.mark.parametrize("question", ["knowledge", "dynamics"])
def test_two_processes_answer_as_one(runs, question):
    one = runs["one-0"][question]
    assert len(one["rows"]) > 10
    assert any(row[5] for row in one["rows"])  # something was counted
    assert "derivatives" in one["options"] or "energ" in one["options"]  # a decision was made, and its reason is told
    for other in ("two-0", "two-1"):
        assert runs[other][question]["rows"] == one["rows"]
        assert runs[other][question]["said"] == one["said"]
        assert runs[other][question]["options"] == one["options"]


@pytest.mark.slow
def test_what_is_done_once_is_known_to_all(runs):
    assert [runs[name]["once"] for name in runs] == [{"who": 0}] * 3
    assert [runs[name]["calls"] for name in runs] == [[0], [0], []]
    assert [runs[name]["failed"] for name in runs] == ["no such thing"] * 3
