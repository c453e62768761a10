"""The truth about a planted world, measured: what taking exactly one cue out of the image changes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.bench.recipes import logits_of
from kdlens.data.planted import CUES, PlantedImages
from kdlens.questions.unicam.joint.evidence import centred, fit_temperature


def temperature_of(network: nn.Module, data: PlantedImages, labels: Int[Tensor, " n"]) -> float:
    """The temperature at which a network's logits fit the labels best, so that two networks can be compared.

    Example:
        >>> data = PlantedImages("columns")
        >>> votes = iter(data.votes[:, 1].split(500))
        >>> confident = lambda x: 5.0 * torch.nn.functional.one_hot(next(votes), 4)
        >>> round(5 / temperature_of(confident, data, data.labels), 1)  # about the log-odds of a cue right 4 times of 5
        2.6
    """
    return fit_temperature(logits_of(network, data, data.images), labels)


def removal_effects(
    model: nn.Module, given: nn.Module, data: PlantedImages, indices: Int[Tensor, " m"], labels: Int[Tensor, " m"],
    temperatures: tuple[float, float],
) -> Float[Tensor, "m 3"]:  # fmt: skip
    """How much each cue lifts the label in `model` more than in `given`.

    Args:
        model: the network to explain.
        given: the network whose knowledge is taken out.
        data: test images.
        indices: of the images.
        labels: of `model`'s task.
        temperatures: of the two networks.

    Returns:
        The fall of the difference of their calibrated, centred logits of the label when taught, shared or other cue is
        taken out.
    """

    def ahead(images: Tensor) -> Tensor:
        evidence = [
            centred(logits) / temperature
            for network, temperature in zip((model, given), temperatures, strict=True)
            for logits in [logits_of(network, data, images)]
        ]
        return (evidence[0] - evidence[1])[torch.arange(len(labels)), labels]

    whole = ahead(data.images[indices])
    return torch.stack([whole - ahead(data.without(cue, indices)) for cue in CUES], 1)


def shares_of(effects: Float[Tensor, "... 3"]) -> Float[Tensor, "... 3"]:
    """Shares of the cues in the positive part of the effects; zero where nothing is positive.

    Example:
        >>> shares_of(torch.tensor([[3.0, 1.0, -2.0], [0.0, -1.0, 0.0]]))
        tensor([[0.7500, 0.2500, 0.0000],
                [0.0000, 0.0000, 0.0000]])
    """
    positive = effects.clamp(min=0)
    return positive / positive.sum(-1, keepdim=True).clamp_min(1e-12)
