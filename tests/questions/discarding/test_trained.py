"""The fast backend on trained networks: it has the loop's answer, or is not used.

How many probes are as good as a seed of the loop depends on the network and is for the benchmark to say; here there are
enough of them, so that what is left would be an error of the method.
"""

import itertools
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import kdlens
from kdlens.bench.triples import load_triple
from kdlens.data.planted import PlantedImages
from kdlens.data.scenes import FashionScenes
from kdlens.questions.discarding.discarding import Backend, accept_linear, information_discarding
from kdlens.questions.knowledge.masks import on_grid
from kdlens.questions.knowledge.points import knowledge_points

SEEDS, COUNT = 3, 1


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A residual network with BatchNorm after some epochs."""
    scenes = FashionScenes("train", bias=0.0, seed=0, count=1000)
    torch.manual_seed(0)
    network = kdlens.load_model("zoo:resnet8", classes=10)
    images = kdlens.Images(scenes, mean=scenes.mean, std=scenes.std)
    options = {"optimizer": {"name": "adam", "lr": 6e-3}, "schedule": "one-cycle", "seed": 0}
    kdlens.distill(None, network, images, method="labels", epochs=4, **options)
    return network


def jaccard(a: Tensor, b: Tensor) -> float:
    return ((a & b).sum() / (a | b).sum()).item()


def test_as_near_to_the_loop_as_its_seeds(trained: nn.Module) -> None:
    scenes = FashionScenes("test", bias=0.0, seed=5, count=COUNT)
    images, _, masks = kdlens.Images(scenes, mean=scenes.mean, std=scenes.std).batch(torch.arange(COUNT))
    assert masks is not None
    foreground = on_grid(masks, 16)

    def maps(backend: Backend, seed: int) -> Tensor:
        found = information_discarding(trained, images, layer="layer3", backend=backend, seed=seed, probes=384)
        return found.entropy

    points = partial(knowledge_points, foreground=foreground, threshold=0.2)
    loops = torch.stack([maps("monte-carlo", seed) for seed in range(SEEDS)])
    others = [loops[[i for i in range(SEEDS) if i != seed]].mean(0) for seed in range(SEEDS)]
    apart = sum((loop - rest).square().mean().sqrt() for loop, rest in zip(loops, others, strict=True)) / SEEDS
    fast = maps("linear", 7)
    assert (fast - loops.mean(0)).square().mean().sqrt() <= 1.5 * apart
    between = [jaccard(points(a).kept, points(b).kept) for a, b in itertools.combinations(loops, 2)]
    with_fast = [jaccard(points(fast).kept, points(loop).kept) for loop in loops]
    assert sum(with_fast) / len(with_fast) >= sum(between) / len(between) - 0.03


def test_where_single_cells_are_off_the_loop_is_used() -> None:
    """A narrow network with max pooling: derivatives are right on the whole, and wrong for many a cell."""
    network = load_triple("scenes").student
    data = PlantedImages("scenes", count=10, seed=5)
    decided = accept_linear(network, data.normalised(data.images), layer="layer3")
    assert decided.backend == "monte-carlo"
    assert "scatters" in decided.reason
    assert decided.energy == pytest.approx(1, abs=0.2)
