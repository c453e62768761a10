"""A small study without files: tiny networks, synthetic pictures with masks, and the context questions expect."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from kdlens.models.history import Checkpoint, at_checkpoint
from kdlens.questions.context import Batch, Subject, Trio

T = TypeVar("T")
LAYERS = ("layer1", "layer2", "layer3")


def tiny_cnn(seed: int, classes: int = 4, width: int = 8) -> nn.Sequential:
    """Three stages, 16 -> 8 -> 4 pixels, in eval mode, parameters frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        stages = OrderedDict(
            layer1=nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
            layer2=nn.Sequential(nn.Conv2d(width, 2 * width, 3, 2, 1), nn.BatchNorm2d(2 * width), nn.ReLU()),
            layer3=nn.Sequential(nn.Conv2d(2 * width, 4 * width, 3, 2, 1), nn.ReLU()),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            fc=nn.Linear(4 * width, classes),
        )
        return nn.Sequential(stages).eval().requires_grad_(False)


def pictures(n: int, classes: int, seed: int, size: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Noise with one coloured square each; the colour is the class, the square is the mask."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    corners = torch.cartesian_prod(*[torch.tensor([1.0, 0.0])] * 3)  # white, yellow, magenta, red, ...
    colours = corners[:classes]
    images = 0.3 * torch.rand(n, 3, size, size, generator=generator)
    masks = torch.zeros(n, size, size, dtype=torch.bool)
    for i in range(n):
        top, left = torch.randint(0, size - 6, (2,), generator=generator).tolist()
        masks[i, top : top + 6, left : left + 6] = True
        images[i, :, masks[i]] = colours[labels[i]][:, None] + 0.1 * torch.rand(3, 36, generator=generator)
    return images, labels, masks


def fit_head(network: nn.Sequential, images: Tensor, labels: Tensor) -> None:
    """Least squares for the last layer, so that a network that was never trained is better than chance."""
    features = network[:-1](images)
    features = torch.cat([features, torch.ones(len(features), 1)], 1)
    wanted = 4.0 * torch.eye(network.fc.out_features)[labels]
    ridge = 1e-3 * torch.eye(features.shape[1])
    solution = torch.linalg.solve(features.T @ features + ridge, features.T @ wanted)
    network.fc.weight.copy_(solution[:-1].T)
    network.fc.bias.copy_(solution[-1])


class FakeContext:
    """`kdlens.questions.context.Context` over tensors; counts forward passes in `.passes`."""

    def __init__(self, subjects: Sequence[Subject], images: Tensor, labels: Tensor, masks: Tensor | None) -> None:
        self.subjects = tuple(subjects)
        self.images, self._labels, self.masks = images, labels, masks
        self.class_names = [f"class {k}" for k in range(int(labels.max()) + 1)]
        self.data_name = "pictures"
        self.seed = 0
        self.concepts = None  # a test may say what the pictures show
        self.passes = 0
        self.said: list[str] = []

    @property
    def labels(self) -> Tensor:
        return self._labels

    def trios(self) -> Iterator[Trio]:
        teacher = next((s for s in self.subjects if s.role == "teacher"), None)
        baselines = [s for s in self.subjects if s.role == "baseline"]
        for student in self.subjects:
            if student.role == "student":
                yield Trio(teacher, student, baselines[student.seed % len(baselines)])

    def logits(self, subject: Subject) -> Tensor:
        return self.run(subject, self.images)

    def activations(self, subject: Subject, indices: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        return self.activations_of(subject, self.images[indices], layers)

    def activations_of(self, subject: Subject, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        self.passes += 1
        found: dict[str, Tensor] = {}
        handles = [
            subject.network.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, name=name: found.__setitem__(name, output.clone())
            )
            for name in layers
        ]
        with torch.no_grad():
            subject.network(images)
        for handle in handles:
            handle.remove()
        return {name: found[name] for name in layers}

    def batch(self, indices: Tensor) -> Batch:
        return Batch(self.images[indices], self.labels[indices], None if self.masks is None else self.masks[indices])

    def display(self, images: Tensor) -> Tensor:
        return (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def annotated(self):
        return self.concepts

    def scaled(self, images: Tensor) -> Tensor:
        return images

    def draw(self, count: int, purpose: str) -> Tensor:
        seed = int(hashlib.sha256(f"{self.seed}/{purpose}".encode()).hexdigest()[:8], 16)
        generator = torch.Generator().manual_seed(seed)
        drawn = []
        for k in self.labels.unique():
            of_class = (self.labels == k).nonzero().flatten()
            drawn.append(
                of_class[torch.randperm(len(of_class), generator=generator)[: -(-count // len(self.class_names))]]
            )
        return torch.cat(drawn).sort().values

    def run(self, subject: Subject, images: Tensor) -> Tensor:
        with torch.no_grad():
            return subject.network(images).float()

    def through(
        self, subject: Subject, images: Tensor, function: Callable[[nn.Module, Tensor, Tensor], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        return dict(function(subject.network, images, torch.arange(len(images))))

    def once(self, function: Callable[[], T]) -> T:
        return function()

    def at(self, subject: Subject, checkpoint: Checkpoint) -> Subject:
        return replace(subject, network=at_checkpoint(subject.network, checkpoint))

    def progress(self, text: str) -> None:
        self.said.append(text)


def build_context(
    *, n: int = 192, classes: int = 4, seeds: int = 1, students: Sequence[str] = ("kd",), masks: bool = True
) -> FakeContext:
    """A teacher, a baseline and the students, each in `seeds` copies; heads fitted on other pictures."""
    images, labels, found = pictures(n, classes, seed=0)
    subjects = []
    for at, (name, role, copies) in enumerate(
        [("teacher", "teacher", 1), ("baseline", "baseline", seeds), *((name, "student", seeds) for name in students)]
    ):
        for seed in range(copies):
            network = tiny_cnn(100 * at + seed, classes, width=12 if role == "teacher" else 8)
            fit_head(network, *pictures(160, classes, seed=1)[:2])
            subjects.append(Subject(name, role, network, LAYERS, seed))
    return FakeContext(subjects, images, labels, found if masks else None)


@pytest.fixture(scope="session")
def make_context() -> Callable[..., FakeContext]:
    """Builds a study of the size asked for; see `build_context`."""
    return build_context


@pytest.fixture
def fake_context() -> FakeContext:
    """Teacher, one baseline, one student "kd", 192 pictures of 4 classes with masks, layers layer1..layer3."""
    return build_context()


@pytest.fixture(scope="session")
def make_network() -> Callable[..., nn.Sequential]:
    """Builds a tiny network from a seed; see `tiny_cnn`."""
    return tiny_cnn


@pytest.fixture(scope="session")
def make_pictures() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """Builds images, labels and masks; see `pictures`."""
    return pictures


@pytest.fixture(scope="session")
def build() -> Callable[..., FakeContext]:
    """As `make_context`, for fixtures that live longer than a test."""
    return build_context
