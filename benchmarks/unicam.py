"""UniCAM for a ResNet-50 pair, 8 images of 224 px, 4 layers, both directions: ours beside the published algorithm."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.measure import Measured, measure, table, write
from benchmarks.published import unicam as published_unicam
from kdlens.questions.unicam.unicam import unicam_layers

LAYERS = ("layer1", "layer2", "layer3", "layer4")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETTINGS = {"ARCH": "resnet50", "IMAGES": "8", "SIZE": "224"}


def setting(name: str) -> str:
    return os.environ.get(f"BENCHMARK_{name}", SETTINGS[name])


def network(seed: int) -> nn.Module:
    """Random weights, with batch-norm statistics of random images so that activations stay in range."""
    import torchvision

    torch.manual_seed(seed)
    model = getattr(torchvision.models, setting("ARCH"))(num_classes=2)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(2):
            model.train()(torch.randn(8, 3, 64, 64))
    return model.eval()


def inputs() -> tuple[Tensor, Tensor]:
    """Unnormalised images and labels."""
    n, size = int(setting("IMAGES")), int(setting("SIZE"))
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 2


def normalised(images: Tensor) -> Tensor:
    return (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def ours() -> Callable[[], Tensor]:
    student, teacher = network(2), network(1)
    images, labels = inputs()
    images = normalised(images)

    def run() -> Tensor:
        found = unicam_layers(student, teacher, images, labels, layers=LAYERS, features="flat")
        return torch.stack([direction.maps for layer in LAYERS for direction in found[layer]])

    return run


def plain() -> Callable[[], Tensor]:
    student, teacher = network(2), network(1)
    images, labels = inputs()
    images, vectors = normalised(images), torch.eye(2)[labels]

    def run() -> Tensor:
        return torch.stack(
            [
                torch.from_numpy(published_unicam(model, given, images, vectors, layer))
                for layer in LAYERS
                for model, given in ((student, teacher), (teacher, student))
            ]
        )

    return run


def row(name: str, measured: Measured, base: Measured) -> list[str]:
    difference = (measured.result - base.result).abs().max().item()
    return [
        name,
        f"{measured.cpu_seconds:.1f}",
        f"{measured.cpu_seconds / base.cpu_seconds:.1f} x",
        f"{measured.added_mb:.0f}",
        f"{measured.peak_mb:.0f}",
        f"{difference:.1e}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--arch", default=SETTINGS["ARCH"], help="a torchvision ResNet")
    parser.add_argument("--images", default=SETTINGS["IMAGES"])
    parser.add_argument("--size", default=SETTINGS["SIZE"])
    parser.add_argument("--peer", type=Path, help="a checkout of the authors' code, to run it as well")
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    arguments = parser.parse_args()
    options = {
        "BENCHMARK_ARCH": arguments.arch,
        "BENCHMARK_IMAGES": arguments.images,
        "BENCHMARK_SIZE": arguments.size,
    }
    jobs = {"kdlens": "benchmarks.unicam:ours", "published, plain": "benchmarks.unicam:plain"}
    if arguments.peer:
        options["BENCHMARK_PEER"] = str(arguments.peer.resolve())
        jobs["authors' code"] = "benchmarks.peer:authors"
    done = {name: measure(job, repeats=arguments.repeats, options=options) for name, job in jobs.items()}
    base = done["kdlens"]
    title = f"UniCAM, {arguments.arch} pair, {arguments.images} x {arguments.size} px, 4 layers, 2 directions"
    head = [title, "CPU s", "times ours", "MB added", "MB process", "largest difference of maps"]
    print(table(head, [row(name, measured, base) for name, measured in done.items()]))
    figures = {f"{name}: times ours": m.cpu_seconds / base.cpu_seconds for name, m in done.items()}
    write(arguments.json, "unicam", figures)


if __name__ == "__main__":
    main()
