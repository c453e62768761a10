"""Evidence: what a network says for a class, on a scale on which two networks can be compared.

The evidence of a network for class c is its centred logit divided by its temperature, (z_c - mean_k z_k) / T. Centring
takes off what is said of all classes alike; the temperature makes confidence match accuracy on the comparison set, so
that evidence is counted in nats of calibrated log-odds. Then evidence adds up over independent sources, and the
difference of two networks' evidence is what one has to say beyond the other.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import DataError

_REACH = 3.0  # temperatures between 0.05 and 20
_POINTS = 61
_ENOUGH = 4096  # images a temperature is fitted on; more cost time and change nothing that a map shows
_PRIOR = 0.02
"""Weight of the wish for a temperature of 1. Without it, a network that makes no mistake would have none."""


def centred(logits: Float[Tensor, "n classes"]) -> Float[Tensor, "n classes"]:
    """Logits less their mean over the classes."""
    return logits - logits.mean(1, keepdim=True)


def of_label(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Centred logit of each image's label."""
    return centred(logits).gather(1, labels[:, None])[:, 0]


def fit_temperature(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> float:
    """The temperature at which a network's confidence matches its accuracy best.

    Minimises the negative log-likelihood of the labels plus 0.02 (log T)^2.

    Raises:
        DataError: labels that the network has no logits for, or logits that are not finite.

    Example:
        >>> logits = torch.tensor([[4.0, 0.0], [4.0, 0.0], [4.0, 0.0], [0.0, 4.0]])
        >>> fit_temperature(logits, torch.tensor([0, 0, 1, 1])) > 2  # too sure: one in four is wrong
        True

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2; the prior is ours.
    """
    check_labels(labels, logits.shape[1])
    if not bool(torch.isfinite(logits).all()):
        raise DataError("a network gives NaN or infinite logits for the comparison set; its evidence is undefined")
    z = centred(logits.double())
    best, step = 0.0, 2 * _REACH / (_POINTS - 1)
    for reach in (_REACH, step):
        grid = best + torch.linspace(-reach, reach, _POINTS, dtype=torch.float64)
        best = float(grid[torch.stack([_cost(z, labels, log_t) for log_t in grid.tolist()]).argmin()])
    return math.exp(best)


def cross_fitted(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """A temperature for every image, fitted without it: images take turns in two halves, each serving the other.

    Example:
        >>> cross_fitted(torch.eye(2).repeat(4, 1), torch.arange(8) % 2).shape
        torch.Size([8])
    """
    check_labels(labels, logits.shape[1])
    found = torch.empty(len(labels))
    halves = _halves(labels)
    for half in (False, True):
        others = (halves != half if len(labels) > 1 else halves == half).nonzero()[:, 0]
        others = others[:: -(-len(others) // _ENOUGH)] if len(others) else others
        found[halves == half] = fit_temperature(logits[others], labels[others])
    return found


def _halves(labels: Tensor) -> Tensor:
    """Every second image of each class."""
    place = torch.zeros(len(labels), dtype=torch.int64)
    for label in labels.unique():
        members = labels == label
        place[members] = torch.arange(int(members.sum())) + int(label)
    return place % 2 == 1


def check_labels(labels: Tensor, classes: int) -> None:
    """Refuse labels that name no class.

    Raises:
        DataError: embeddings, or class indices beyond the logits.
    """
    if labels.ndim != 1 or labels.is_floating_point():
        raise DataError(
            "the joint protocol explains a class of each image, so labels must be class indices (n,), got "
            f'{labels.dtype} of shape {tuple(labels.shape)}; for embeddings use protocol="published"'
        )
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise DataError(
            f"labels reach from {int(labels.min())} to {int(labels.max())}, but a network has {classes} logits"
        )


def _cost(z: Tensor, labels: Tensor, log_temperature: float) -> Tensor:
    return F.cross_entropy(z / math.exp(log_temperature), labels) + _PRIOR * log_temperature**2
