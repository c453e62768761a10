"""The workbench: a study's networks and images, and everything already computed on them.

Implements `kdlens.questions.context.Context`. Questions ask it for logits and activations; it runs every network once
for each set of images, on all processes, and keeps what fits.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from kdlens.data.concepts.annotated import ConceptData
from kdlens.data.images import Images
from kdlens.data.sampling import balanced_indices
from kdlens.errors import KdlensError, in_one_line
from kdlens.memory import estimate_batch_size
from kdlens.models.history import Checkpoint, at_checkpoint
from kdlens.models.taps import record
from kdlens.questions.context import Batch, Subject, Trio
from kdlens.runtime import Runtime

T = TypeVar("T")

LOGITS = "."
"""Key of the logits beside the layers' activations; no layer can have this name."""

CACHE_BYTES = 2 * 1024**3
"""Activations kept for questions that share them; the oldest go first."""


class Workbench:
    """What a study offers to its questions.

    Args:
        subjects: the networks.
        images: the images, as the networks take them.
        seed: seed of every draw.
        runtime: device, processes and batch size.
        say: called with a short text when something long starts.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        images: Images,
        *,
        seed: int,
        runtime: Runtime,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.subjects = tuple(subjects)
        self.images = images
        self.class_names = list(images.classes)
        self.data_name = images.name
        self.seed = seed
        self.runtime = runtime
        self._say = say
        self._logits: dict[Subject, Tensor] = {}
        self._activations: OrderedDict[tuple[Subject, str, str], Tensor] = OrderedDict()
        self._batch_sizes: dict[Subject, int] = {}
        self._earlier: tuple[Subject, Checkpoint, Subject] | None = None

    @property
    def labels(self) -> Tensor:
        """Labels of all images, `(n,)` int64."""
        return self.images.labels

    def trios(self) -> Iterator[Trio]:
        """Every student with the baseline of its seed; with fewer baselines than seeds they are used in turn."""
        teacher = next((s for s in self.subjects if s.role == "teacher"), None)
        baselines = [s for s in self.subjects if s.role == "baseline"]
        for student in self.subjects:
            if student.role == "student":
                yield Trio(teacher, student, baselines[student.seed % len(baselines)])

    def logits(self, subject: Subject) -> Tensor:
        """Logits on all images, `(n, classes)` float32 on the CPU."""
        if subject not in self._logits:
            self.progress(f"{subject.label}: predicting {len(self.images)} images")
            every = torch.arange(len(self.images))
            self._logits[subject] = self._pass(subject, every, ())[LOGITS]
        return self._logits[subject]

    def activations(self, subject: Subject, indices: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Activations of `indices` at `layers`, float32 on the CPU; layers not kept from before share one pass."""
        key = hashlib.sha256(indices.numpy().tobytes()).hexdigest()
        missing = [layer for layer in layers if (subject, layer, key) not in self._activations]
        found = {layer: self._activations[subject, layer, key] for layer in layers if layer not in missing}
        if missing:
            self.progress(f"{subject.label}: reading {', '.join(missing)}")
            found |= {layer: a for layer, a in self._pass(subject, indices, missing).items() if layer != LOGITS}
            self._keep(subject, key, found)
        return {layer: found[layer] for layer in layers}

    def batch(self, indices: Tensor) -> Batch:
        """The images `indices`, their labels and masks."""
        return Batch(*self.images.batch(indices))

    def display(self, images: Tensor) -> Tensor:
        """Network inputs back to pictures, `(n, H, W, 3)` uint8."""
        return self.images.display(images)

    def annotated(self) -> ConceptData | None:
        """The study's images in [0, 1] with their concepts, in data order; `None` where kdlens knows none."""
        return self.images.annotated()

    def scaled(self, images: Tensor) -> Tensor:
        """Images in [0, 1] from elsewhere as the networks take the study's."""
        return self.images.scaled(images)

    def draw(self, count: int, purpose: str) -> Tensor:
        """Class-balanced indices, the same for the same seed and purpose."""
        seed = int.from_bytes(hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()[:6], "big")
        return balanced_indices(self.labels, count, seed=seed)

    def run(self, subject: Subject, images: Tensor) -> Tensor:
        """Logits for images that are not in the data, `(n, classes)` float32 on the CPU."""
        return self._pass_changed(subject, images, ())[LOGITS]

    def activations_of(self, subject: Subject, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Activations at `layers` for images that are not in the data (changed ones), float32 on the CPU; not kept."""
        found = self._pass_changed(subject, images, layers)
        return {layer: found[layer] for layer in layers}

    def through(
        self, subject: Subject, images: Tensor, function: Callable[[nn.Module, Tensor, Tensor], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Run `function(network, images, positions)` on all processes; half a batch at a time, for the gradients."""

        def forward(part: Tensor) -> Mapping[str, Tensor]:
            return function(subject.network, images[part].to(self.runtime.device), part)

        size = max(1, self._batch_size(subject) // 2)
        return self.runtime.over(torch.arange(len(images)), forward, batch_size=size)

    def once(self, function: Callable[[], T]) -> T:
        """What `function` returns on the first process, on all; if it fails there, all fail, so that none waits."""
        found: T | None = None
        failure: Exception | None = None
        if self.runtime.processes.is_main:
            try:
                found = function()
            except Exception as error:  # noqa: BLE001 - the others must hear of any
                failure = error
        found, told = self.runtime.processes.share((found, "" if failure is None else in_one_line(failure)))
        if told:
            raise failure or KdlensError(told)
        return cast(T, found)

    def at(self, subject: Subject, checkpoint: Checkpoint) -> Subject:
        """The subject at an earlier moment; asked for another one, the copy and all that was computed on it go."""
        if self._earlier is not None and self._earlier[0] is subject and self._earlier[1] is checkpoint:
            return self._earlier[2]
        self._forget_earlier()
        size = self._batch_size(subject)
        earlier = replace(subject, network=at_checkpoint(subject.network, checkpoint))
        self._batch_sizes[earlier] = size
        self._earlier = (subject, checkpoint, earlier)
        return earlier

    def progress(self, text: str) -> None:
        """Tell the person what is being done; only the first process speaks."""
        if self.runtime.processes.is_main:
            self._say(text)

    def _pass(self, subject: Subject, indices: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        def forward(part: Tensor) -> dict[str, Tensor]:
            images = self.images.batch(part)[0].to(self.runtime.device)
            output, found = record(subject.network, images, layers)
            return {LOGITS: output.float(), **{layer: a.float() for layer, a in found.items()}}

        return self.runtime.over(indices, forward, batch_size=self._batch_size(subject))

    def _pass_changed(self, subject: Subject, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        def forward(part: Tensor) -> dict[str, Tensor]:
            output, found = record(subject.network, images[part].to(self.runtime.device), layers)
            return {LOGITS: output.float(), **{layer: a.float() for layer, a in found.items()}}

        return self.runtime.over(torch.arange(len(images)), forward, batch_size=self._batch_size(subject))

    def _batch_size(self, subject: Subject) -> int:
        if self.runtime.batch_size is not None:
            return self.runtime.batch_size
        if subject not in self._batch_sizes:
            example = self.images.batch(torch.tensor([0]))[0].to(self.runtime.device)
            self._batch_sizes[subject] = estimate_batch_size(subject.network, example)
        return self._batch_sizes[subject]

    def _forget_earlier(self) -> None:
        if self._earlier is None:
            return
        *_, gone = self._earlier
        self._earlier = None
        self._logits.pop(gone, None)
        self._batch_sizes.pop(gone, None)
        for key in [key for key in self._activations if key[0] is gone]:
            del self._activations[key]

    def _keep(self, subject: Subject, key: str, found: dict[str, Tensor]) -> None:
        for layer, activation in found.items():
            self._activations[subject, layer, key] = activation
        while len(self._activations) > 1 and sum(a.nbytes for a in self._activations.values()) > CACHE_BYTES:
            self._activations.popitem(last=False)
