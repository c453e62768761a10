"""What a network calls an image."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

NOTHING = -1
"""In place of a class where the logits are NaN or infinite; never right by accident."""


def named(logits: Float[Tensor, "n classes"]) -> Int[Tensor, " n"]:
    """The class of the largest logit of each image; -1 where the logits are not all finite.

    Example:
        >>> named(torch.tensor([[2.0, 1.0], [0.0, 3.0], [float("nan"), 0.0]])).tolist()
        [0, 1, -1]
    """
    return torch.where(torch.isfinite(logits).all(1), logits.argmax(1), NOTHING)
