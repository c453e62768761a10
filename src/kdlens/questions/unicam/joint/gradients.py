"""The fast form: gradients of a network's evidence, along a short path from the blurred image to the image."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.errors import ModelError
from kdlens.models.nested import first_tensor
from kdlens.models.state import undisturbed
from kdlens.models.wrappers import unwrap
from kdlens.questions.unicam.joint.blur import blurred, smooth
from kdlens.questions.unicam.joint.evidence import of_label

STEPS = 3
SMOOTHING = 2.5 / 32
"""Standard deviation of the smoothing, as a share of the shorter side: single pixels of a gradient are noise."""

FINE = SMOOTHING / 2
"""Smoothing of the finer map that says where exactly; alone it is too noisy."""

_FAINT = 1e-6  # share of the finer map's largest value; where it shows nothing, effects are dealt out evenly


def gradient_effects(
    model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n h w"]]:
    """What every pixel adds to the evidence for the label, in logits; the network comes back as it was.

    The gradient is averaged over the middles of three steps from the blurred image to the image and multiplied by their
    difference; the sum over the pixels is, up to the few steps, the difference in evidence.

    Raises:
        ModelError: no gradient reaches the image.

    Source: integrated gradients, Sundararajan et al., ICML 2017, eq. 1, with a blurred baseline.
    """
    start = blurred(images)
    total = torch.zeros_like(images[:, 0])
    with undisturbed(model, gradients=True):
        for step in range(STEPS):
            point = (start + (step + 0.5) / STEPS * (images - start)).detach().clone().requires_grad_()
            logits = first_tensor(unwrap(model)(point))
            if logits is None or not logits.requires_grad:
                raise ModelError(_no_gradient(model))
            (slope,) = torch.autograd.grad(of_label(logits.float(), labels).sum(), point, allow_unused=True)
            if slope is None:
                raise ModelError(_no_gradient(model))
            total += (slope * (images - start)).sum(1) / STEPS
    return (total.detach(),)


def draw_gradients(effects: tuple[Float[Tensor, "n h w"], ...], size: tuple[int, int]) -> Float[Tensor, "n h w"]:
    """The map: pixel effects, smoothed, and dealt out to the pixels where a finer map shows the same sign.

    Smoothing takes out the noise of single pixels, but carries evidence several pixels beyond the edges of what it
    comes from. So what a pixel of the smoothed map holds goes to the pixels around it, in proportion to the finer map.
    Positive and negative part each keep their sum.
    """
    coarse, fine = smooth(effects[0], SMOOTHING), smooth(effects[0], FINE)
    faint = (_FAINT * fine.abs().amax((1, 2), keepdim=True)).clamp_min(1e-30)
    total = torch.zeros_like(coarse)
    for sign in (1.0, -1.0):
        share = (sign * fine).clamp(min=0) + faint
        total += sign * share * smooth((sign * coarse).clamp(min=0) / smooth(share, SMOOTHING), SMOOTHING)
    return total


def _no_gradient(model: nn.Module) -> str:
    return f'no gradient of {type(unwrap(model)).__name__} reaches the image; use attribution="occlusion"'
