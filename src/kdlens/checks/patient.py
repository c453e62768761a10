"""What the checks may look at: networks, a sample of the images, and the outputs on it, computed once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kdlens.checks.forward import Refusal, refusal
from kdlens.checks.given import role_of
from kdlens.data.images import Images
from kdlens.data.sampling import balanced_indices
from kdlens.memory import in_portions
from kdlens.models.asked import Layers
from kdlens.models.device import device_of
from kdlens.models.taps import record
from kdlens.questions.accuracy.classification import correct

Loss = Callable[[Tensor, Tensor], Tensor]


class NotApplicableError(Exception):
    """A check that cannot be made here; the text says why."""


@dataclass(eq=False)
class Patient:
    """Everything given to the doctor.

    Attributes:
        networks: by name: teacher, student (or `"student NAME"`, where several were given), baseline.
        images: the images, as the networks take them.
        sample: how many of them are looked at.
        cached_logits: stored outputs of the teacher, `(n, classes)`, if any.
        temperature: of distillation.
        alpha: weight of the teacher's term, with 1 - alpha on the cross-entropy.
        loss: the user's distillation term, if any.
        layers: layers to be explained.
        seed: of the sample and of every draw.
        training: modules of each network that were in training mode as given.
    """

    networks: dict[str, nn.Module]
    images: Images
    sample: int = 512
    cached_logits: Tensor | None = None
    temperature: float = 4.0
    alpha: float = 0.5
    loss: Loss | None = None
    layers: Layers = "auto"
    seed: int = 0
    training: dict[str, list[str]] = field(default_factory=dict)
    _logits: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, network in self.networks.items():
            self.training[name] = [module_name for module_name, module in network.named_modules() if module.training]

    @property
    def classes(self) -> int:
        """Number of classes of the data."""
        return len(self.images.classes)

    @property
    def students(self) -> list[str]:
        """Names of the students."""
        return [name for name in self.networks if role_of(name) == "student"]

    @cached_property
    def refusals(self) -> dict[str, Refusal]:
        """Networks that cannot be run on the images, with the reason."""
        found = {name: refusal(network, self.x[:2]) for name, network in self.networks.items()}
        return {name: why for name, why in found.items() if why is not None}

    @property
    def running(self) -> dict[str, nn.Module]:
        """Networks that can be run on the images."""
        return {name: network for name, network in self.networks.items() if name not in self.refusals}

    @cached_property
    def indices(self) -> Int[Tensor, " m"]:
        """The sample: class-balanced, seeded."""
        return balanced_indices(self.images.labels, min(self.sample, len(self.images)), seed=self.seed)

    @cached_property
    def x(self) -> Float[Tensor, "m c h w"]:
        """Images of the sample."""
        return self.images.batch(self.indices)[0]

    @property
    def y(self) -> Int[Tensor, " m"]:
        """Labels of the sample."""
        return self.images.labels[self.indices]

    def load(self) -> None:
        """Read the sample, so that images that cannot be read are told once and not by every check.

        Where nobody named the classes, the networks say how many there are, if they agree.

        Raises:
            DataError: an image cannot be read, they differ in size, or the labels do not fit the networks.
        """
        shapes = {tuple(self.run(name, self.x[:1]).shape[1:]) for name in self.running}
        if not self.images.named and len(shapes) == 1 and len(shape := shapes.pop()) == 1:
            self.images = self.images.of_outputs(shape[0])

    def network(self, name: str) -> nn.Module:
        """A network that must be there for a check.

        Raises:
            NotApplicableError: it was not given.
        """
        if name not in self.networks:
            raise NotApplicableError(f"no {name} was given")
        return self.networks[name]

    def outputs(self, name: str) -> Tensor:
        """Whatever a network gives for the sample.

        Raises:
            NotApplicableError: it cannot be run on the images.
        """
        if name in self.refusals:
            raise NotApplicableError(f"the {name} cannot be run on the images")
        if name not in self._logits:
            self._logits[name] = self.run(name, self.x)
        return self._logits[name]

    def logits(self, name: str) -> Float[Tensor, "m classes"]:
        """Outputs of the sample that fit the classes.

        Raises:
            NotApplicableError: the network is not there, or its outputs are not usable.
        """
        self.network(name)
        found = self.outputs(name)
        if found.shape != (len(self.y), self.classes):
            raise NotApplicableError(f"the outputs of the {name} do not fit the classes")
        if not bool(torch.isfinite(found).all()):
            raise NotApplicableError(f"the outputs of the {name} are not finite")
        return found

    def right(self, name: str) -> Bool[Tensor, " m"]:
        """Which images of the sample a network names right."""
        return correct(self.logits(name), self.y)

    def run(self, name: str, x: Tensor) -> Tensor:
        """Outputs of a network for any images, in eval mode, float32 on the CPU."""
        network = self.network(name)

        def part(where: slice) -> Tensor:
            return record(network, x[where].to(device_of(network)), ())[0].float().cpu()

        return torch.cat(in_portions(part, len(x), 64))

    def usable(self) -> list[str]:
        """Networks whose outputs fit the classes and are finite.

        Raises:
            NotApplicableError: none.
        """
        found = []
        for name in self.running:
            output = self.outputs(name)
            if output.shape == (len(self.y), self.classes) and bool(torch.isfinite(output).all()):
                found.append(name)
        if not found:
            raise NotApplicableError("no network gives finite outputs that fit the classes")
        return found
