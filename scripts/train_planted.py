"""Train the networks of the planted benchmark that come with the package, and write down how good they are.

    OMP_NUM_THREADS=1 python scripts/train_planted.py [WORLD ...]

A killed run continues with the worlds that have no file yet.
"""

import json
import sys
import time
from pathlib import Path

import torch

from kdlens.bench.recipes import accuracy, judging_images, recipe_of, train
from kdlens.bench.stored import ARCH, WEIGHTS, keep, pack, unpack
from kdlens.data.planted import WORLDS

TRAININGS = ("baseline", "labels", "kd")


def main(worlds: list[str]) -> None:
    torch.set_num_threads(1)
    recipe = recipe_of(ARCH)
    for world in worlds or WORLDS:
        path = WEIGHTS / f"{world}.safetensors"
        if path.exists():
            continue
        tensors, scores, test = {}, {}, judging_images(world)
        for seed in range(recipe.seeds):
            teacher = train(recipe, world, "teacher", seed)
            print(world, f"teacher-{seed}", round(accuracy(teacher, test, "teacher"), 3), flush=True)
            for training in TRAININGS:
                start, name = time.perf_counter(), f"{training}-{seed}"
                weights = pack(train(recipe, world, training, seed, teacher))
                scores[name] = round(accuracy(unpack(recipe.build(training), weights), test, training), 3)
                print(world, name, scores[name], f"{time.perf_counter() - start:.0f} s", flush=True)
                tensors |= {f"{name}.{key}": value for key, value in weights.items()}
        keep(tensors, path)
        note(WEIGHTS / "accuracy.json", world, scores)


def note(path: Path, world: str, scores: dict[str, float]) -> None:
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | {world: scores}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
