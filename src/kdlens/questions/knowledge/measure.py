"""Entropy maps of a study's networks: the same images, the same cells and the same probes for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from torch import Tensor, nn

from kdlens.models.device import device_of
from kdlens.questions.context import Context, Subject
from kdlens.questions.discarding.budget import FEWEST_PROBES
from kdlens.questions.discarding.discarding import TRIED, Backend, accept_linear, information_discarding
from kdlens.questions.discarding.recipe import Protocol
from kdlens.questions.knowledge.points import Background
from kdlens.questions.options import at_least, one_of


def check_options(question: Any) -> None:
    """Refuse options of a question about knowledge that make no sense.

    Raises:
        ConfigError: an unknown name, or a number out of range.
    """
    one_of(question, protocol=get_args(Protocol), backend=get_args(Backend), background=get_args(Background))
    at_least(question, threshold=0, gallery=0, probes=FEWEST_PROBES)


@dataclass(frozen=True)
class Measure:
    """How the information that a layer discards is measured; one way for all that is compared.

    Attributes:
        grid: cells a side.
        protocol: see `kdlens.information_discarding`.
        backend: `"auto"`, `"linear"` or `"monte-carlo"`.
        seed: of the probes.
        probes: backward passes an image, of the fast way.
    """

    grid: int
    protocol: str
    backend: str
    seed: int
    probes: int

    def options(self, backend: str) -> dict[str, Any]:
        """Keyword arguments of `information_discarding`."""
        return {
            "grid": self.grid,
            "protocol": self.protocol,
            "backend": backend,
            "seed": self.seed,
            "probes": self.probes,
        }


@dataclass(frozen=True)
class Decision:
    """Which way was taken at a layer, and why; whether the fast one may be trusted there, if that was asked."""

    backend: str
    reason: str
    accepted: bool = True


def decide(
    context: Context, measure: Measure, places: Sequence[tuple[Subject, str]], images: Tensor, indices: Tensor
) -> Decision:
    """Choose the backend for layers that are compared: the fast one if every network passes, else the slow one for all.

    Where a person insists on the fast one, it is taken, and what speaks against it is told.

    Args:
        context: the study.
        measure: how to measure.
        places: networks and their layers.
        images: the images, of which the first few are tried.
        indices: positions of the images in the data.
    """
    if measure.backend == "monte-carlo":
        return Decision("monte-carlo", "as asked for")
    reasons = []
    for subject, layer in places:
        context.progress(f"{subject.label}: trying the fast way at {layer}")
        trial = partial(_try, measure, subject, layer, images[:TRIED], indices[:TRIED])
        backend, reason = context.once(trial)
        if backend != "linear" and measure.backend == "linear":
            return Decision("linear", f"{subject.label}: {reason}", accepted=False)
        if backend != "linear":
            context.progress(f"{layer} needs the slow way for all networks, which may take long ({reason})")
            return Decision(backend, f"{subject.label}: {reason}", accepted=False)
        reasons.append(f"{subject.label}: {reason}")
    return Decision("linear", "; ".join(dict.fromkeys(reasons)))


def entropy_maps(
    context: Context, measure: Measure, subject: Subject, layer: str, images: Tensor, indices: Tensor, backend: str
) -> Tensor:
    """Entropy of every cell, `(n, gh, gw)` nats on the CPU; NaN for an image of which no feature moves.

    Args:
        context: the study.
        measure: how to measure.
        subject: the network.
        layer: where.
        images: as the network takes them.
        indices: their positions in the data, which choose the probes.
        backend: as decided.
    """

    def run(network: nn.Module, part: Tensor, places: Tensor) -> dict[str, Tensor]:
        positions = indices[places.cpu()]
        found = information_discarding(network, part, layer=layer, positions=positions, **measure.options(backend))
        return {"entropy": found.entropy}

    return context.through(subject, images, run)["entropy"]


def _try(measure: Measure, subject: Subject, layer: str, images: Tensor, indices: Tensor) -> tuple[str, str]:
    """Backend and reason."""
    options = {name: value for name, value in measure.options("auto").items() if name != "backend"}
    images = images.to(device_of(subject.network))
    found = accept_linear(subject.network, images, layer=layer, positions=indices, **options)
    return found.backend, found.reason
