"""Layers with virtual attention: blocks of outputs weigh the blocks of inputs that they read.

The input channels of a layer are split into equal groups, its outputs into equal blocks, in their natural order. Block
j reads group k with the weight alpha_jk, a row of `softmax(logits / T)`:

    Y_j = sum_k alpha_jk (W_jk * X_k) + b_j

This is a plain layer with its weight multiplied block by block, which is how it is computed: no activation is stored
beside those of the plain layer, and after training the factors can be folded into the weight for good.

Source: Xue et al., KDExplainer (IJCAI 2021), the virtual attention module. That filters are seen as virtual blocks with
attention inside the convolution is stated there; the equation above is our reading, and `rescale` is ours.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.nn.task_attention import row_entropy

LOGITS = "vam_logits"
"""What the logits are called in the state dict of a layer."""


class VirtualAttention(nn.Module):
    """What both kinds of layers share. Instances are made by `kdlens.nn.insert_vam`, from layers that exist.

    Attributes:
        vam_logits: `(blocks of outputs, groups of inputs)`, learned; at zero the layer does what it did before.
        temperature: T.
        rescale: multiply the weights by the number of groups, so that even attention changes nothing; without it,
            responses shrink to 1 / groups (the literal form).
    """

    weight: Tensor
    vam_logits: nn.Parameter
    temperature: float
    rescale: bool

    def attention(self) -> Float[Tensor, "r s"]:
        """Return the rows, each of which sums to 1."""
        logits = self.vam_logits if self.temperature == 1 else self.vam_logits / self.temperature
        return _shares(logits)

    def entropy(self) -> Float[Tensor, " r"]:
        """Return the entropy of every row in nats."""
        return row_entropy(self.vam_logits, self.temperature)

    def attended_weight(self) -> Tensor:
        """Return the weight of the plain layer that does the same."""
        factors = self.attention()
        rows, groups = factors.shape
        if self.rescale:
            factors = factors * groups
        outputs, inputs = self.weight.shape[:2]
        blocks = self.weight.view(rows, outputs // rows, groups, inputs // groups, -1)
        return (blocks * factors.to(blocks.dtype).view(rows, 1, groups, 1, 1)).view(self.weight.shape)


class VAMConv2d(VirtualAttention, nn.Conv2d):
    """A convolution with virtual attention. In a grouped convolution, every group of its own has rows of its own."""

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o y x"]:
        """Convolve with the attended weight."""
        return self._conv_forward(x, self.attended_weight(), self.bias)


class VAMLinear(VirtualAttention, nn.Linear):
    """A linear layer with virtual attention: groups of classes read groups of features."""

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Apply the attended weight."""
        return F.linear(x, self.attended_weight(), self.bias)


ATTENDED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: VAMConv2d, nn.Linear: VAMLinear}
"""Which layers can be given attention, and what they become."""


def attend(layer: nn.Module, blocks: tuple[int, int], temperature: float, *, rescale: bool) -> None:
    """Give a layer attention, in place: it stays the same object, with its hooks, weights and names.

    Args:
        layer: a `Conv2d` or `Linear`.
        blocks: groups of inputs and blocks of outputs, both within each group of a grouped convolution.
        temperature: T, positive.
        rescale: see `VirtualAttention`.
    """
    inputs, outputs = blocks
    weight: Any = layer.weight
    rows = outputs * int(getattr(layer, "groups", 1))
    layer.__class__ = ATTENDED[type(layer)]
    layer.vam_logits = nn.Parameter(weight.detach().new_zeros(rows, inputs))
    layer.temperature, layer.rescale = temperature, rescale  # type: ignore[assignment]


def restore(layer: VirtualAttention, *, fold: bool) -> None:
    """Make a layer plain again, in place; `fold` multiplies the attention into its weight first."""
    if fold:
        with torch.no_grad():
            layer.weight.copy_(layer.attended_weight())
    for name in (LOGITS, "temperature", "rescale"):
        delattr(layer, name)
    plain: Any = next(kind for kind, attended in ATTENDED.items() if type(layer) is attended)
    layer.__class__ = plain


def _shares(logits: Tensor) -> Tensor:
    """Softmax of every row, in which equal logits give exactly equal shares: n of them times n are exactly 1.

    Torch's own does so where n is a power of two; it is one operation, and this runs in every layer at every step.
    """
    logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    count = logits.shape[1]
    if count & (count - 1) == 0:
        return torch.softmax(logits, dim=1)
    heights = (logits - logits.detach().amax(dim=1, keepdim=True)).exp()
    return heights / heights.sum(dim=1, keepdim=True)
