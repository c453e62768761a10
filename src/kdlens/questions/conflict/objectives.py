"""Mixtures of experts trained with several objectives, several seeds each: measures side by side, T among them."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.errors import ConfigError
from kdlens.memory import portion_size
from kdlens.models.device import device_of
from kdlens.models.taps import record
from kdlens.questions.conflict.gradients import gradient_conflict
from kdlens.questions.conflict.routing import attention_report
from kdlens.questions.conflict.tasks import purity
from kdlens.questions.conflict.tree import neural_tree
from kdlens.questions.phrases import counted, listed, number, span
from kdlens.stats.resampling import Interval, seed_interval

if TYPE_CHECKING:
    import pandas as pd

UNITS = {
    "entropy": "nats",
    "entropy_normalised": "",
    "mutual_information": "nats",
    "logit_spread": "",
    "temperature": "",
    "purity": "",
    "conflict_rate": "",
    "accuracy": "",
}


@dataclass(frozen=True, repr=False)
class Objectives:
    """A table of objectives by measures.

    Attributes:
        values: objective -> measure -> one number for every seed.
        alerts: what a reader must know before comparing.
    """

    values: dict[str, dict[str, tuple[float, ...]]]
    alerts: tuple[str, ...]

    def interval(self, objective: str, measure: str) -> Interval:
        """Mean over seeds with Student's t interval; unknown ends for one seed."""
        return seed_interval(self.values[objective][measure])

    def to_frame(self) -> "pd.DataFrame":
        """One row for every objective and measure, with mean, interval, seeds and unit."""
        import pandas as pd  # heavy, and only needed here

        rows = []
        for objective, measures in self.values.items():
            for measure in measures:
                found = self.interval(objective, measure)
                rows.append((objective, measure, found.value, found.low, found.high, found.n, UNITS[measure]))
        return pd.DataFrame(rows, columns=["objective", "measure", "mean", "low", "high", "seeds", "unit"])

    def __repr__(self) -> str:
        measures = list(next(iter(self.values.values())))
        lines = [["objective", "seeds", *measures]]
        for name, found in self.values.items():
            cells = [self.interval(name, measure) for measure in measures]
            seeds = str(len(next(iter(found.values()))))
            lines.append([name, seeds, *(f"{number(c.value, 3)}{span(c.low, c.high, 3)}" for c in cells)])
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        table = ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]
        return "\n".join([*table, *self.alerts])


def compare_objectives(
    networks: Mapping[str, Sequence[nn.Module]],
    images: Float[Tensor, "n c h w"] | None = None,
    labels: Int[Tensor, " n"] | None = None,
    *,
    superclasses: Sequence[int] | None = None,
    layer: str | None = None,
    batch_size: int = 128,
) -> Objectives:
    """Compare mixtures of experts that were trained with different objectives.

    Entropy and mutual information are means over the attentions. Entropy is told as observed: it depends on the
    temperature, on how long and with which scale of losses was trained, and on weight decay; the spread of the raw
    logits, which does not depend on T, stands beside it.

    Args:
        networks: objective -> networks of several seeds, all `kdlens.nn.HME`, or all with virtual attention.
        images: on which accuracy and the conflict rate are measured; without them these are left out.
        labels: their classes.
        superclasses: of every class, as numbers, for the purity of the tree; needs mixtures of experts.
        layer: shared layer of the conflict rate; by default the trunk, or the last stage.
        batch_size: images over which a gradient is averaged.

    Raises:
        ConfigError: no network, or images without labels.
        ModelError: a network without attention.

    Warns:
        UserWarning: the temperatures differ, so entropies cannot be compared.

    Source: the comparison of objectives by entropy is that of Xue et al. (KDExplainer, IJCAI 2021); the rest is ours.
    """
    if not networks or not all(networks.values()):
        raise ConfigError("give at least one network for every objective: {'labels': [network], 'kd': [network]}")
    if (images is None) != (labels is None):
        raise ConfigError("images and labels belong together; give both or neither")
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for name, seeds in networks.items():
        each = [_attention(network, superclasses) for network in seeds]
        if images is not None and labels is not None:
            more = [_on_images(network, images, labels, layer, batch_size) for network in seeds]
            each = [a | b for a, b in zip(each, more, strict=True)]
        found[name] = {measure: tuple(one[measure] for one in each) for measure in each[0]}
    alerts = tuple(_alerts(found))
    for text in alerts:
        if "temperature" in text:
            warnings.warn(text, stacklevel=2)
    return Objectives(found, alerts)


def _attention(network: nn.Module, superclasses: Sequence[int] | None) -> dict[str, float]:
    report = attention_report(network)
    found = {
        "entropy": report.mean_entropy,
        "entropy_normalised": report.normalised_entropy,
        "mutual_information": report.mutual_information,
        "logit_spread": report.logit_spread,
        "temperature": math.fsum(level.temperature for level in report.levels) / len(report.levels),
    }
    if superclasses is not None:
        found["purity"] = purity(torch.tensor(neural_tree(network).groups()), torch.tensor(list(superclasses)))
    return found


def _on_images(network: nn.Module, images: Tensor, labels: Tensor, layer: str | None, size: int) -> dict[str, float]:
    device, portion = device_of(network), portion_size(network, images)
    outputs = [record(network, part.to(device), ())[0].cpu() for part in images.split(portion)]
    accuracy = (torch.cat(outputs).argmax(1) == labels.cpu()).double().mean().item()
    conflict = gradient_conflict(network, images, labels, layer=layer, batch_size=size)
    return {"conflict_rate": conflict.rate.value, "accuracy": accuracy}


def _alerts(found: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    temperatures = sorted({t for measures in found.values() for t in measures["temperature"]})
    alerts = []
    if len(temperatures) > 1:
        told = listed([f"{t:g}" for t in temperatures])
        alerts.append(f"The temperatures differ ({told}): entropies and mutual information cannot be compared.")
    few = [name for name, measures in found.items() if len(measures["temperature"]) < 3]
    if few:
        alerts.append(
            f"Fewer than 3 seeds of {listed(few)}: {counted(len(few), 'objective')} without a sound interval."
        )
    return alerts
