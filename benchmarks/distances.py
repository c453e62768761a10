"""Distance matrix of 64 images at a layer of 200,704 units (ResNet-50, layer3, 224 px): and n x n x d tensors."""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measure import measure, table, write
from benchmarks.published import distance_matrix
from kdlens.stats.distance import u_center, u_centered_distances

IMAGES, UNITS = 64, 200_704


def features() -> Tensor:
    return torch.randn(IMAGES, UNITS, generator=torch.Generator().manual_seed(0))


def plain() -> Callable[[], Tensor]:
    x = features()
    return lambda: u_center(distance_matrix(x))


def ours() -> Callable[[], Tensor]:
    x = features()
    return lambda: u_centered_distances(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="add the figures to this file")
    arguments = parser.parse_args()
    slow = measure("benchmarks.distances:plain", repeats=arguments.repeats)
    fast = measure("benchmarks.distances:ours", repeats=arguments.repeats)
    difference = (slow.result - fast.result).abs().max().item() / fast.result.abs().max().item()
    figures = {
        "faster": slow.cpu_seconds / fast.cpu_seconds,
        "memory": slow.added_mb / max(fast.added_mb, 1.0),
        "process_memory": slow.peak_mb / fast.peak_mb,
        "difference": difference,
    }
    rows = [
        [name, f"{m.cpu_seconds:.3f}", f"{m.added_mb:.0f}", f"{m.peak_mb:.0f}"]
        for name, m in {"plain": slow, "kdlens": fast}.items()
    ]
    rows.append(
        [
            "**ratio**",
            *(f"**{figures[name]:.0f} x**" for name in ("faster", "memory")),
            f"{figures['process_memory']:.0f} x",
        ]
    )
    print(table([f"U-centred distances, n = {IMAGES}, d = {UNITS:,}", "CPU s", "MB added", "MB process"], rows))
    print(f"\nlargest difference, relative to the largest entry: {difference:.1e}")
    write(arguments.json, "distances", figures)


if __name__ == "__main__":
    main()
