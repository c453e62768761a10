"""What `import kdlens` adds to `import torch`, and how long `kdlens --help` takes; least of several, CPU seconds."""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import table, write


def cpu_seconds(command: list[str], repeats: int) -> float:
    """CPU time of a command; least of the runs, the first one (cold files) left out."""
    seconds = []
    for _ in range(repeats + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    arguments = parser.parse_args()
    python = [sys.executable, "-c"]
    torch = cpu_seconds([*python, "import torch"], arguments.repeats)
    figures = {
        "import kdlens, over import torch": cpu_seconds([*python, "import torch, kdlens"], arguments.repeats) - torch,
        "kdlens.unicam, over import torch": cpu_seconds(
            [*python, "import torch, kdlens; kdlens.unicam"], arguments.repeats
        )
        - torch,
        "kdlens --help": cpu_seconds([sys.executable, "-m", "kdlens", "--help"], arguments.repeats),
    }
    print(table(["start", "CPU s"], [[name, f"{value:.2f}"] for name, value in figures.items()]))
    write(arguments.json, "startup", figures)


if __name__ == "__main__":
    main()
