"""Run a job alone in a fresh process: CPU seconds (least of several runs) and peak memory.

CPU time rather than wall time, because other programs share the machine; one thread, so that it means work done.
A job is a function without arguments that prepares, and returns the function to be measured.
"""

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Measured:
    cpu_seconds: float
    """Least of the runs."""
    added_mb: float
    """Peak memory of the process over what it held before the job began."""
    peak_mb: float
    """Peak memory of the process."""
    result: torch.Tensor | None


def measure(job: str, *, repeats: int = 3, options: dict[str, str] | None = None) -> Measured:
    """Run `"module:function"` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.pt"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **(options or {})}
        command = [sys.executable, "-m", "benchmarks.measure", job, "--repeats", str(repeats), "--out", str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{job} failed:\n{done.stderr[-4000:]}")
        figures = json.loads(done.stdout.splitlines()[-1])
        result = torch.load(out, weights_only=True) if out.exists() else None
    return Measured(**figures, result=result)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("job")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    module, _, name = arguments.job.partition(":")
    run = getattr(importlib.import_module(module), name)()
    before, seconds, result = _peak_mb(), [], None
    for _ in range(arguments.repeats):
        result = None  # the last result must not stand in the way of the next
        start = time.process_time()
        result = run()
        seconds.append(time.process_time() - start)
    peak = _peak_mb()
    torch.save(result, arguments.out)
    print(json.dumps({"cpu_seconds": min(seconds), "added_mb": peak - before, "peak_mb": peak}))


def least_cpu(function: Callable[[], object], times: int = 2) -> float:
    """Least CPU seconds of several runs in this process."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(path: Path | None, name: str, figures: dict[str, float]) -> None:
    """Add the figures to a JSON file, if one was asked for."""
    if path is None:
        return
    known = json.loads(path.read_text()) if path.exists() else {}
    known[name] = figures
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
