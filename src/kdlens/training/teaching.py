"""The teacher's side of a step: what it says about a batch, computed or remembered. It is never trained nor wrapped."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from kdlens.errors import KdlensError
from kdlens.memory import free_bytes
from kdlens.training.batches import Batches
from kdlens.training.outputs import Reader

Precision = Callable[[], AbstractContextManager[object]]
"""Makes the context (autocast or nothing) of a forward pass."""

MEMORY_SHARE = 0.5
"""Share of the free memory that remembered outputs may take."""


class Taught(NamedTuple):
    """The teacher's logits `(n, K)`, None without a teacher, and what its layers gave."""

    logits: Tensor | None
    features: tuple[Tensor, ...] = ()

    def at(self, indices: Tensor) -> "Taught":
        """The rows of some images."""
        return Taught(None if self.logits is None else self.logits[indices], tuple(f[indices] for f in self.features))


class Teacher:
    """Runs a frozen network in eval mode, without gradient, and remembers its outputs if asked to.

    Use it in a `with` block: outside of it the teacher is as it was.

    Args:
        network: the teacher, or None where the labels teach alone.
        layers: which of its layers the method reads.
        spatial: whether the method needs them as feature maps.
        precision: makes the context in which a forward pass runs.
    """

    def __init__(
        self, network: nn.Module | None, layers: Sequence[str], precision: Precision, *, spatial: bool = False
    ) -> None:
        self.network = network
        self._reader = None if network is None else Reader(network, "teacher", layers, spatial=spatial)
        self._precision = precision
        self._memory: Taught | None = None
        self._modes: list[tuple[nn.Module, bool]] = []

    def __enter__(self) -> Self:
        """Put the teacher into eval mode."""
        if self.network is not None:
            self._modes = [(module, module.training) for module in self.network.modules()]
            self.network.eval()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the teacher back in the mode it had, without hooks."""
        if self._reader is not None:
            self._reader.close()
        for module, training in self._modes:
            module.training = training

    def __call__(self, images: Tensor, indices: Tensor) -> Taught:
        """Return what the teacher says about `images`, which are those at `indices` of the training data."""
        if self._memory is not None:
            return self._memory.at(indices.to(images.device))
        return self.say(images)

    def say(self, images: Tensor) -> Taught:
        """Run the teacher."""
        if self._reader is None:
            return Taught(None)
        with torch.no_grad(), self._precision():
            return Taught(*self._reader(images))

    def remember(self, data: Batches, batch_size: int, device: torch.device) -> None:
        """Run the teacher over all images once, by index, so that no order of batches can mix the answers up.

        Raises:
            KdlensError: the outputs would take more than half of the free memory.
        """
        if self.network is None:
            return
        chunks: list[Taught] = []
        for indices in torch.arange(len(data)).split(batch_size):
            chunks.append(self.say(data.batch(indices)[0].to(device)))
            if len(chunks) == 1:
                _check_memory(chunks[0], len(data), device)
        logits = [chunk.logits for chunk in chunks if chunk.logits is not None]
        features = zip(*(chunk.features for chunk in chunks), strict=True)
        self._memory = Taught(torch.cat(logits), tuple(torch.cat(parts) for parts in features))


def _check_memory(first: Taught, count: int, device: torch.device) -> None:
    parts = [part for part in (first.logits, *first.features) if part is not None]
    needed = sum(part.nbytes / len(part) for part in parts) * count
    if needed > MEMORY_SHARE * free_bytes(device):
        raise KdlensError(
            f"remembering the teacher's outputs takes {needed / 2**30:.1f} GiB, too much for the free memory; "
            "train with cache_teacher=False"
        )
