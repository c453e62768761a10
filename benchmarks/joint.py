"""What joint maps cost, and how often they show something where there is nothing: planted worlds, one thread.

python -m benchmarks.joint
"""

import argparse
import itertools
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

import kdlens
from benchmarks.measure import least_cpu, table, write
from kdlens.bench.cases import Case
from kdlens.bench.methods import gradcam
from kdlens.bench.triples import load_triple
from kdlens.data.planted import WORLDS, PlantedImages
from kdlens.questions.unicam.joint.forms import FORMS, effects_of

SEEDS = 3
IMAGES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", UserWarning)
    costs = cost()
    rows = [[name, f"{seconds:.3f}", f"{seconds / costs['Grad-CAM']:.1f} x"] for name, seconds in costs.items()]
    print(table(["evidence of a pair of networks, 64 images", "CPU s", "times Grad-CAM of the pair"], rows))
    found = {world: within(world) for world in WORLDS}
    rows = [[world, _spread(seeds), _spread(labels)] for world, (seeds, labels) in found.items()]
    print(table(["maps within the band, baseline given baseline", "a third seed's band", "other labels' band"], rows))
    write(arguments.json, "joint", costs | {world: sum(seeds) / len(seeds) for world, (seeds, _) in found.items()})


def cost() -> dict[str, float]:
    """CPU seconds of each form, and of Grad-CAM, for both networks of a pair."""
    triple, data = load_triple("scenes"), PlantedImages("scenes", count=64, seed=5)
    images, labels = data.normalised(data.images), data.labels
    networks = (triple.student, triple.baseline)

    def traced(form: str) -> Callable[[], object]:
        return lambda: [effects_of(FORMS[form], network, images, labels) for network in networks]

    cases = [Case(a, b, images, labels, (images, labels)) for a, b in (networks, networks[::-1])]
    return {
        "Grad-CAM": least_cpu(lambda: [gradcam(case) for case in cases], 5),
        "gradients": least_cpu(traced("gradients"), 5),
        "occlusion": least_cpu(traced("occlusion"), 1),
    }


def within(world: str) -> tuple[list[float], list[float]]:
    """Share of maps within the null band for baselines of two seeds, in all orders of three seeds."""
    baselines = [load_triple(world, seed=seed).baseline for seed in range(SEEDS)]
    data, compared = PlantedImages(world, count=IMAGES, seed=91), PlantedImages(world, count=400, seed=92)
    images, labels = data.normalised(data.images), data.tasks["baseline"]
    reference = (compared.normalised(compared.images), compared.tasks["baseline"])

    def share(a: int, b: int, null: list[tuple[torch.nn.Module, torch.nn.Module]]) -> float:
        found = kdlens.unicam(baselines[a], baselines[b], images, labels, reference=reference, null=null)
        assert found.in_band is not None
        return found.in_band.float().mean().item()

    orders = list(itertools.permutations(range(SEEDS)))
    by_seed = [share(a, b, [(baselines[c], baselines[b])]) for a, b, c in orders]
    return by_seed, [share(a, b, []) for a, b in itertools.combinations(range(SEEDS), 2)]


def _spread(shares: list[float]) -> str:
    return f"{sum(shares) / len(shares):.2f} ({min(shares):.2f} to {max(shares):.2f}, {len(shares)} pairs)"


if __name__ == "__main__":
    main()
