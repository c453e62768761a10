"""Knowledge points: accuracy and cost of the fast backend beside the published loop, on trained networks, one thread.

python -m benchmarks.knowledge            # trains two small networks first; --folder keeps them
"""

import argparse
import itertools
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import kdlens
from benchmarks.measure import least_cpu, table, write
from kdlens.data.scenes import FashionScenes
from kdlens.questions.discarding.discarding import accept_linear, information_discarding
from kdlens.questions.knowledge.masks import on_grid

NETWORKS = {"resnet8": ("layer2", "layer3"), "vit_tiny_cifar": ("blocks.2", "blocks.5")}
EPOCHS = 8
PROBES = (16, 24, 32, 64, 96, 128, 192, 256)
SEEDS = 3
GRID = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the trained networks here")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--study", action="store_true", help="time a whole study on two cores instead")
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.study:
        seconds = study()
        print(f"50 images, 15 checkpoints, two ResNet-20, two layers, 64 probes, two processes: {seconds:.0f} s")
        write(arguments.json, "knowledge/study", {"seconds": seconds})
        return
    with tempfile.TemporaryDirectory() as folder:
        for arch in arguments.network or NETWORKS:
            network = trained(arch, (arguments.folder or Path(folder)) / arch)
            for layer in NETWORKS[arch]:
                figures = compare(network, layer, arguments.images)
                print(f"\n{arch}, {layer}: {arguments.images} images, published protocol, {GRID} x {GRID} cells")
                print(figures.table(), flush=True)
                write(arguments.json, f"knowledge/{arch}/{layer}", figures.numbers())


def trained(arch: str, folder: Path) -> nn.Module:
    """A network of the zoo after some epochs on scenes; a finished training in `folder` is read again."""
    scenes = FashionScenes("train", bias=0.0, seed=0, count=4000)
    torch.manual_seed(0)
    network = kdlens.load_model(f"zoo:{arch}", classes=len(scenes.classes))
    rate = 1e-3 if arch.startswith("vit") else 6e-3
    images = kdlens.Images(scenes, mean=scenes.mean, std=scenes.std)
    optimizer = {"name": "adam", "lr": rate}
    settings = {"method": "labels", "epochs": EPOCHS, "optimizer": optimizer, "schedule": "one-cycle", "seed": 0}
    kdlens.distill(None, network, images, out=folder, path_layers=(), **settings)
    return network


def study() -> float:
    """Wall seconds of the dynamics of two networks, each in a process of its own."""
    start = time.monotonic()
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_dynamics, [0, 1]))
    return time.monotonic() - start


def _dynamics(seed: int) -> None:
    """Follow one network over 15 checkpoints; how good they are is nothing to the clock, so they are not trained.

    The checks of the fast backend are run, and it is used whatever they say of these networks.
    """
    torch.set_num_threads(1)
    scenes = FashionScenes("test", bias=0.0, seed=5, count=50)
    images, _, masks = kdlens.Images(scenes, mean=scenes.mean, std=scenes.std).batch(torch.arange(50))
    torch.manual_seed(seed)
    network = kdlens.load_model("zoo:resnet20", classes=10)
    weights = network.state_dict()
    checkpoints = [({n: (1 + k / 100) * w for n, w in weights.items()}, k / 100) for k in range(15)]
    for layer in ("layer2", "layer3"):
        accept_linear(network, images, layer=layer)
        kdlens.learning_dynamics(network, checkpoints, images, masks, layer=layer, backend="linear", probes=64)


@dataclass(frozen=True)
class Line:
    """One way to get the maps: how far from the mean of the loops, how alike the point sets, at what CPU time."""

    name: str
    rms: float
    jaccard: float
    seconds: float


@dataclass(frozen=True)
class Figures:
    published: float
    lines: list[Line]

    def table(self) -> str:
        seed = self.lines[0].rms
        head = ["", "rms (nats)", "in seeds' rms", "Jaccard", "CPU s an image", "published loop takes"]
        rows = [
            [
                line.name,
                f"{line.rms:.4f}",
                f"{line.rms / seed:.2f}",
                f"{line.jaccard:.3f}",
                f"{line.seconds:.3f}",
                f"{self.published / line.seconds:.1f} x",
            ]
            for line in self.lines
        ]
        return table(head, rows)

    def numbers(self) -> dict[str, float]:
        found = {f"{line.name}, rms": line.rms for line in self.lines}
        found |= {f"{line.name}, ratio": self.published / line.seconds for line in self.lines}
        return found | {f"{line.name}, jaccard": line.jaccard for line in self.lines}


def compare(network: nn.Module, layer: str, count: int) -> Figures:
    """The loop of several seeds, and the fast backend with fewer and more probes against the mean of the loops."""
    scenes = FashionScenes("test", bias=0.0, seed=5, count=count)
    images, _, masks = kdlens.Images(scenes, mean=scenes.mean, std=scenes.std).batch(torch.arange(count))
    assert masks is not None
    foreground = on_grid(masks, GRID)
    published = least_cpu(lambda: published_loop(network, layer, images[0]))

    def maps(backend: str, seed: int, probes: int = 128) -> Tensor:
        options = {"layer": layer, "grid": GRID, "backend": backend, "seed": seed, "probes": probes}
        return information_discarding(network, images, **options).entropy

    def points(entropy: Tensor) -> Tensor:
        return kdlens.knowledge_points(entropy, foreground).kept

    start = time.process_time()
    loops = torch.stack([maps("monte-carlo", seed) for seed in range(SEEDS)])
    slow = (time.process_time() - start) / SEEDS / count
    others = [loops[[i for i in range(SEEDS) if i != seed]].mean(0) for seed in range(SEEDS)]
    apart = sum(_rms(loop, rest) for loop, rest in zip(loops, others, strict=True)) / SEEDS
    pairs = list(itertools.combinations([points(loop) for loop in loops], 2))
    alike = sum(_jaccard(a, b) for a, b in pairs) / len(pairs)
    lines = [Line("loop, one seed against the others", apart, alike, slow)]
    for probes in PROBES:
        seconds = least_cpu(lambda probes=probes: maps("linear", 0, probes)) / count
        tries = [maps("linear", seed, probes) for seed in range(2)]
        rms = (sum(_rms(t, loops.mean(0)) ** 2 for t in tries) / len(tries)) ** 0.5
        overlap = [_jaccard(points(t), points(loop)) for t in tries for loop in loops]
        lines.append(Line(f"{probes} probes", rms, sum(overlap) / len(overlap), seconds))
    return Figures(published, lines)


def published_loop(network: nn.Module, layer: str, image: Tensor) -> Tensor:
    """The authors' procedure as it reads, for one image: 60 steps of 96 draws, and 20 more where they are needed.

    Parameters are not frozen, so their gradients are computed and thrown away, and the network is run to its end.
    """
    found: list[Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda _m, _i, output: found.append(output))

    def feature(x: Tensor) -> Tensor:
        found.clear()
        network(x)
        return found[0].relu()

    for parameter in network.parameters():
        parameter.requires_grad_(True)
    try:
        clean = feature(image[None]).detach()
        unit = (feature(image + 0.01 * torch.randn(96, *image.shape)) - clean).square().mean().detach()
        sigma = torch.full((1, 1, GRID, GRID), 0.01, requires_grad=True)
        optimizer = torch.optim.SGD([sigma], lr=1e-4)
        weight, snapshots = 7.0, []
        for step in range(80):
            if step == 60:
                if any(snapshot.log().mean() + 1.4189385 > -2.8 for snapshot in snapshots):
                    break
                weight *= 1.5
            spread = F.interpolate(sigma.clamp(0.001, 1), size=image.shape[-2:])
            change = feature(image + spread[0] * torch.randn(96, *image.shape)) - clean
            loss = change.square().mean() / unit - weight * (sigma.log().mean() + 1.4189385)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            snapshots.append(sigma.detach().clone())
        return min(snapshots, key=lambda s: abs(s.log().mean().item() + 1.4189385 + 2.8))
    finally:
        handle.remove()
        network.zero_grad()


def _rms(a: Tensor, b: Tensor) -> float:
    return (a - b).square().mean().sqrt().item()


def _jaccard(a: Tensor, b: Tensor) -> float:
    """Mean over images of the overlap of two sets of cells; 1 where both are empty."""
    both, either = (a & b).flatten(1).sum(1), (a | b).flatten(1).sum(1)
    return torch.where(either > 0, both / either.clamp_min(1), torch.ones(len(a))).mean().item()


if __name__ == "__main__":
    main()
