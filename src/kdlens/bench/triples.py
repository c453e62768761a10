"""Student, baseline and networks to compare with, for every planted world, trained once."""

import os
from pathlib import Path
from typing import NamedTuple

from torch import nn

from kdlens.bench.recipes import Recipe, Training, recipe_of, train
from kdlens.bench.stored import ARCH, cache_folder, cached_file, fits, from_cache, from_package, keep, pack, unpack
from kdlens.data.planted import WORLDS
from kdlens.errors import UnknownNameError, did_you_mean
from kdlens.progress import Stages


class Triple(NamedTuple):
    """Networks of one world and seed, in eval mode.

    Attributes:
        student: has learned the taught and the shared cue.
        baseline: has learned the shared and the other cue.
        others: baselines of other seeds, which differ from `baseline` in nothing but chance.
        other_students: students of other seeds.
    """

    student: nn.Module
    baseline: nn.Module
    others: list[nn.Module]
    other_students: list[nn.Module]


def load_triple(
    world: str,
    arch: str = "cnn",
    seed: int = 0,
    kd: bool = True,
    cache: str | os.PathLike[str] | None = None,
    *,
    say: Stages | None = None,
) -> Triple:
    """Networks of a planted world. Those of `"cnn"` with the seeds 0 to 2 come with the package.

    All others are trained when first asked for, in a minute or several each, and kept in the cache folder.

    Args:
        world: name of the world.
        arch: `"cnn"`, `"resnet"` or `"vit"`.
        seed: of images and training.
        kd: whether the student learned from a teacher's logits; otherwise from labels.
        cache: folder for trained networks; by default `$KDLENS_CACHE`, or `~/.cache/kdlens`.
        say: told about every training.

    Raises:
        UnknownNameError: no such world or architecture.
        RunFolderError: the cache folder cannot be written.

    Example:
        >>> triple = load_triple("columns")
        >>> triple.student.training, len(triple.others)
        (False, 2)
    """
    if world not in WORLDS:
        hint = did_you_mean(str(world), WORLDS)
        raise UnknownNameError(f'unknown world "{world}"{hint or "."} Known: {", ".join(WORLDS)}')
    shelf = Shelf(arch, world, cache_folder(cache), say or Stages())
    learned: Training = "kd" if kd else "labels"
    rest = [other for other in range(shelf.recipe.seeds) if other != seed]
    return Triple(
        student=shelf.network(learned, seed),
        baseline=shelf.network("baseline", seed),
        others=[shelf.network("baseline", other) for other in rest],
        other_students=[shelf.network(learned, other) for other in rest],
    )


class Shelf:
    """The networks of one architecture and world: taken from the package or the cache, or else trained.

    Args:
        arch: name of the recipe.
        world: name of the world.
        cache: folder for trained networks.
        say: told about every training.
    """

    def __init__(self, arch: str, world: str, cache: Path, say: Stages) -> None:
        self.recipe: Recipe = recipe_of(arch)
        self._arch, self._world, self._cache, self._say = arch, world, cache, say

    def network(self, training: Training, seed: int) -> nn.Module:
        """One network."""
        name, fresh = f"{training}-{seed}", self.recipe.build(training)
        weights = from_package(self._world, name) if self._arch == ARCH else None
        if weights is None:
            path = cached_file(self._cache, self.recipe, self._world, f"{self._arch}-{name}")
            weights = from_cache(path)
            if weights is None or not fits(fresh, weights):
                teacher = self.network("teacher", seed) if training == "kd" else None
                self._say(f"training {self._arch} {training} of {self._world} (seed {seed})")
                weights = pack(train(self.recipe, self._world, training, seed, teacher))
                keep(weights, path)
        return unpack(fresh, weights)
