"""What every class's loss asks of the logits, in closed form, so that one forward pass serves all classes.

A class is a task: the one-vs-rest question "is it c?", or the images of class c. Both losses are functions of the
logits alone, so their gradients with respect to the logits are written down here, and only what lies between the logits
and the layer is left to automatic differentiation. No difference of nearly equal numbers is taken, however sure the
network is.
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.nn import marginal_logits

Task = Literal["binary", "images"]
"""What a task is: the one-vs-rest question of a class on all images, or the images of a class."""

Kind = Literal["softmax", "sigmoid"]
"""What the logits are: of one softmax, or of a sigmoid for every class."""


class Cotangents:
    """Gradients of the tasks' losses, summed over images, with respect to the logits.

    `"binary"`: the loss of class c is BCE(sigmoid(u), [label = c]), with u the logit of class c (sigmoid) or its exact
    marginal logit `u = z_c - logsumexp of the others` (softmax). The gradient of that u is 1 at c and minus the softmax
    over the others elsewhere. `"images"`: the cross-entropy of images that all belong to class c; with a sigmoid for
    every class, the sum of the binary cross-entropies.

    Args:
        logits: `(n, K)`, without gradient.
        labels: `(n,)`.
        task: what a task is.
        kind: what the logits are of.

    Example:
        >>> labels = torch.tensor([0])
        >>> Cotangents(torch.zeros(1, 3), labels, "binary", "softmax").of(0)
        tensor([[-0.6667,  0.3333,  0.3333]])
        >>> Cotangents(torch.zeros(1, 3), labels, "binary", "sigmoid").of(0)
        tensor([[-0.5000,  0.0000,  0.0000]])
        >>> Cotangents(torch.zeros(1, 2), labels, "images", "softmax").of(0)
        tensor([[-0.5000,  0.5000]])
    """

    def __init__(self, logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"], task: Task, kind: Kind) -> None:
        self.logits, self.labels, self.task, self.kind = logits, labels, task, kind
        self._u = marginal_logits(logits) if kind == "softmax" and task == "binary" else logits

    def of(self, c: int) -> Float[Tensor, "n k"]:
        """The gradient of the loss of class c."""
        return self._binary(c) if self.task == "binary" else self._images(c)

    def _binary(self, c: int) -> Tensor:
        u = self._u[:, c]
        slope = torch.where(self.labels == c, -torch.sigmoid(-u), torch.sigmoid(u))
        if self.kind == "sigmoid":
            found = torch.zeros_like(self.logits)
            found[:, c] = slope
            return found
        others = torch.softmax(self._without(c), dim=1)
        others[:, c] = -1.0
        return others.mul_(-slope[:, None])

    def _images(self, c: int) -> Tensor:
        if self.kind == "sigmoid":
            found = torch.sigmoid(self.logits)
            found[:, c] = -torch.sigmoid(-self.logits[:, c])
            return found
        found = torch.softmax(self.logits, dim=1)
        found[:, c] = 0.0
        found[:, c] = -found.sum(dim=1)
        return found

    def _without(self, c: int) -> Tensor:
        rest = self.logits.clone()
        rest[:, c] = -torch.inf
        return rest
