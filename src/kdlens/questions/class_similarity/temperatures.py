"""The temperature at which a network is as confident as another, so that softness is not taken for knowledge."""

import math

from jaxtyping import Float
from torch import Tensor

_COLDEST, _HOTTEST, _STEPS = 1e-3, 1e3, 60


def mean_confidence(logits: Float[Tensor, "n classes"], temperature: float = 1.0) -> float:
    """Mean over images of the largest probability.

    Example:
        >>> import torch
        >>> round(mean_confidence(torch.tensor([[2.0, 0.0, -1.0]])), 4)
        0.8438
    """
    return (logits.double() / temperature).softmax(1).amax(1).mean().item()


def matched_temperature(logits: Float[Tensor, "n classes"], confidence: float) -> float:
    """The temperature that gives a network this mean confidence; NaN where none between 0.001 and 1000 does.

    The mean confidence falls as the temperature grows, so halving finds it.

    Args:
        logits: `(n, classes)`.
        confidence: wanted mean of the largest probability.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 5.0, 1.0]])
        >>> round(matched_temperature(logits, mean_confidence(logits / 3.0)), 6)
        3.0
    """
    low, high = math.log(_COLDEST), math.log(_HOTTEST)
    logits = logits.double()
    if not mean_confidence(logits, _HOTTEST) <= confidence <= mean_confidence(logits, _COLDEST):
        return math.nan
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if mean_confidence(logits, math.exp(middle)) > confidence else (low, middle)
    return math.exp((low + high) / 2)
