"""How the networks of the benchmark are trained."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from kdlens.data.images import Images
from kdlens.data.planted import PlantedImages
from kdlens.data.planted.worlds import CLASSES, Role
from kdlens.errors import UnknownNameError, did_you_mean
from kdlens.models.load import load_model
from kdlens.training.api import distill

Training = Literal["teacher", "baseline", "kd", "labels"]
"""What a network of the benchmark is: a teacher, a baseline, or a student with a teacher or without."""

ROLE_OF: dict[Training, Role] = {"teacher": "teacher", "baseline": "baseline", "kd": "student", "labels": "student"}
_JUDGING_SEED = 777


@dataclass(frozen=True)
class Recipe:
    """How the networks of one architecture are trained.

    Attributes:
        arch: of student and baseline, for `kdlens.load_model`.
        teacher: architecture of the teacher.
        options: of both architectures.
        seeds: how many networks of other seeds there are to compare with, the first included.
        epochs: passes over the images.
        images: number of training images.
        lr: highest learning rate of Adam, in one cycle.
        temperature: of distillation from the teacher's logits alone.
    """

    arch: str
    teacher: str
    options: dict[str, Any] = field(default_factory=dict)
    seeds: int = 2
    epochs: int = 6
    images: int = 6000
    lr: float = 6e-3
    temperature: float = 2.0

    def build(self, training: Training, seed: int = 0) -> nn.Module:
        """A network with random weights; the global random state is not touched."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(100 * seed + list(ROLE_OF).index(training))
            return load_model(self.teacher if training == "teacher" else self.arch, classes=CLASSES, **self.options)

    def __str__(self) -> str:
        return repr(sorted(asdict(self).items()))


RECIPES = {
    "cnn": Recipe("zoo:cnn8", teacher="zoo:cnn16", seeds=3),
    "resnet": Recipe("zoo:resnet8", teacher="zoo:resnet8"),
    "vit": Recipe(
        "zoo:vit_tiny_cifar",
        teacher="zoo:vit_tiny_cifar",
        options={"width": 48, "depth": 3, "heads": 3},
        epochs=24,
        lr=2e-3,
    ),
}
"""Architectures of the benchmark."""


def recipe_of(arch: str) -> Recipe:
    """The recipe of an architecture.

    Raises:
        UnknownNameError: there is none.

    Example:
        >>> recipe_of("cnn").arch
        'zoo:cnn8'
    """
    if arch not in RECIPES:
        hint = did_you_mean(str(arch), RECIPES)
        raise UnknownNameError(f'unknown architecture "{arch}"{hint or "."} Known: {", ".join(RECIPES)}')
    return RECIPES[arch]


def train(recipe: Recipe, world: str, training: Training, seed: int, teacher: nn.Module | None = None) -> nn.Module:
    """Train one network of the benchmark, on the CPU, so that all machines have much the same.

    Args:
        recipe: how.
        world: name of the world.
        training: what it is to become; `"kd"` needs a teacher.
        seed: of images, first weights and order.
        teacher: for `"kd"`.
    """
    data = PlantedImages(world, ROLE_OF[training], count=recipe.images, seed=seed)
    network = recipe.build(training, seed)
    options: dict[str, Any] = {"temperature": recipe.temperature, "alpha": 1.0} if training == "kd" else {}
    distill(
        teacher if training == "kd" else None,
        network,
        Images(data, mean=data.mean, std=data.std),
        method="kd" if training == "kd" else "labels",
        epochs=recipe.epochs,
        optimizer={"name": "adam", "lr": recipe.lr},
        schedule="one-cycle",
        seed=seed,
        device="cpu",
        cache_teacher=training == "kd",
        path_layers=(),
        **options,
    )
    return network.eval()


def judging_images(world: str) -> PlantedImages:
    """The test images on which the accuracy of trained networks is written down."""
    return PlantedImages(world, count=1000, seed=_JUDGING_SEED)


def accuracy(network: nn.Module, data: PlantedImages, training: Training) -> float:
    """Share of images that a network gets right at its own task."""
    right = logits_of(network, data, data.images).argmax(1) == data.tasks[ROLE_OF[training]]
    return right.float().mean().item()


@torch.no_grad()
def logits_of(network: nn.Module, data: PlantedImages, images: Tensor) -> Tensor:
    """Logits for images in [0, 1], normalised as `data` says."""
    return torch.cat([network(data.normalised(part)) for part in images.split(500)])
