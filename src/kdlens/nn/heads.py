"""K heads that are linear layers, run as one: each reads features of its own and says yes or no."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LinearHeads(nn.Module):
    """One linear layer for each of K classes, on features of its own.

    Args:
        features: width of the features.
        classes: K.
        outputs: 2 for a no-yes pair, 1 for one logit.

    Example:
        >>> LinearHeads(8, 5)(torch.zeros(5, 3, 8)).shape
        torch.Size([3, 5, 2])
    """

    def __init__(self, features: int, classes: int, outputs: int = 2) -> None:
        super().__init__()
        bound = 1 / math.sqrt(features)  # as torch.nn.Linear
        self.weight = nn.Parameter(torch.empty(classes, outputs, features).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(classes, outputs).uniform_(-bound, bound))

    def __len__(self) -> int:
        """K."""
        return len(self.weight)

    def reset_parameters(self) -> None:
        """Draw new weights."""
        bound = 1 / math.sqrt(self.weight.shape[2])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, features: Float[Tensor, "k n d"]) -> Float[Tensor, "n k o"]:
        """Features of every head to the outputs of all."""
        return torch.einsum("knd,kod->nko", features, self.weight) + self.bias

    def extra_repr(self) -> str:
        """Classes, outputs and features."""
        classes, outputs, features = self.weight.shape
        return f"classes={classes}, outputs={outputs}, features={features}"
