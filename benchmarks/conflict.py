"""Gradient conflict of 100 classes in a ResNet-20 at 32 px: ours beside the plain loop, layer by layer.

The plain loop runs, for every class, the batch forwards, that class's loss, the whole network backwards, and flattens
the shared layer's gradients.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measure import Measured, measure, table, write
from kdlens.models.load import load_model
from kdlens.nn import marginal_logits
from kdlens.questions.conflict.gradients import gradient_conflict

LAYERS = ("layer3.2", "layer3", "layer2", "layer1")
COUNTED = {"layer3.2": "17", "layer3": "4.9", "layer2": "2.4", "layer1": "1.6"}
"""3 F for a class of the plain loop over what counting convolutions leaves of it."""
SETTINGS = {"ARCH": "resnet20", "CLASSES": "100", "IMAGES": "25", "LAYER": "layer3.2"}


def setting(name: str) -> str:
    return os.environ.get(f"BENCHMARK_{name}", SETTINGS[name])


def prepared() -> tuple[nn.Module, Tensor, Tensor]:
    """Random weights, batch-norm statistics of random images, one batch."""
    torch.manual_seed(0)
    classes, n = int(setting("CLASSES")), int(setting("IMAGES"))
    network = load_model(f"zoo:{setting('ARCH')}", classes=classes)
    network.requires_grad_(True)
    with torch.no_grad():
        for _ in range(3):
            network.train()(torch.rand(64, 3, 32, 32))
    return network.eval(), torch.rand(n, 3, 32, 32), torch.arange(n) % classes


def ours() -> Callable[[], Tensor]:
    network, images, labels = prepared()

    def run() -> Tensor:
        found = gradient_conflict(
            network, images, labels, layer=setting("LAYER"), batch_size=len(labels), portion=len(labels)
        )
        return found.cosines

    return run


def plain() -> Callable[[], Tensor]:
    network, images, labels = prepared()

    def run() -> Tensor:
        rows = []
        for c in range(int(setting("CLASSES"))):
            network.zero_grad()
            u = marginal_logits(network(images))[:, c]
            F.binary_cross_entropy_with_logits(u, (labels == c).float()).backward()
            layer = network.get_submodule(setting("LAYER"))
            rows.append(torch.cat([p.grad.flatten() for p in layer.parameters() if p.grad is not None]))
        gradients = F.normalize(torch.stack(rows).double(), dim=1)
        return gradients @ gradients.T

    return run


def row(layer: str, ours: Measured, plain: Measured) -> list[str]:
    difference = (ours.result - plain.result).abs().max().item()
    return [
        layer,
        f"{ours.cpu_seconds:.2f}",
        f"{plain.cpu_seconds:.1f}",
        f"{plain.cpu_seconds / ours.cpu_seconds:.1f} x",
        f"{COUNTED.get(layer, '')} x",
        f"{ours.added_mb:.0f}",
        f"{plain.added_mb:.0f}",
        f"{difference:.1e}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--classes", default=SETTINGS["CLASSES"])
    parser.add_argument("--images", default=SETTINGS["IMAGES"])
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    arguments = parser.parse_args()
    options = {"BENCHMARK_CLASSES": arguments.classes, "BENCHMARK_IMAGES": arguments.images}
    done = {}
    for layer in LAYERS:
        chosen = {**options, "BENCHMARK_LAYER": layer}
        done[layer] = [
            measure(f"benchmarks.conflict:{job}", repeats=arguments.repeats, options=chosen)
            for job in ("ours", "plain")
        ]
    title = f"{arguments.classes} classes, resnet20, {arguments.images} x 32 px"
    head = [title, "CPU s", "plain loop", "saved", "by counting", "MB added", "plain", "largest difference of cosines"]
    print(table(head, [row(layer, *measured) for layer, measured in done.items()]))
    figures = {
        f"plain loop, {layer}: times ours": one[1].cpu_seconds / one[0].cpu_seconds for layer, one in done.items()
    }
    write(arguments.json, "conflict", figures)


if __name__ == "__main__":
    main()
