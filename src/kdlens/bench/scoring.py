"""How much of a map lies where the truth says."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from kdlens.data.planted import CUES

TOLERANCE = 2
"""Pixels of an image of 32 x 32 by which a map may miss a cue's edge."""

_EMPTY = 1e-9


@dataclass(frozen=True)
class Score:
    """How well maps tell the truth, image by image; images with an empty map or nothing to show are left out.

    Attributes:
        right: overlap of the map's shares with the truth, in [0, 1].
        shares: share of the map's positive part on the taught, the shared and the other cue.
        elsewhere: share of it on no cue.
        chance: the overlap that a constant map has.
        empty: share of maps with no positive part.
    """

    right: Float[Tensor, " m"]
    shares: Float[Tensor, "m 3"]
    elsewhere: Float[Tensor, " m"]
    chance: Float[Tensor, " m"]
    empty: float


def score(maps: Float[Tensor, "n H W"], masks: Bool[Tensor, "n 3 H W"], truth: Float[Tensor, "n 3"]) -> Score:
    """Compare maps with what each cue is worth.

    Args:
        maps: signed; the positive part counts.
        masks: where the cues are; enlarged by two pixels first (at 32 x 32; larger images have a larger margin).
        truth: shares of the cues, image by image; zero where there is nothing to show.

    Example:
        >>> masks = torch.zeros(1, 3, 32, 32, dtype=torch.bool)
        >>> masks[0, 0, 10, 10] = masks[0, 1, 20, 20] = True
        >>> maps = torch.zeros(1, 32, 32)
        >>> maps[0, 12, 11], maps[0, 20, 20], maps[0, 30, 30], maps[0, 0, 0] = 3.0, 1.0, 1.0, -5.0
        >>> result = score(maps, masks, torch.tensor([[1.0, 0.0, 0.0]]))
        >>> result.right, result.shares, result.elsewhere
        (tensor([0.6000]), tensor([[0.6000, 0.2000, 0.0000]]), tensor([0.2000]))
    """
    margin = max(1, round(TOLERANCE * maps.shape[-1] / 32))
    near = F.max_pool2d(masks.float(), 2 * margin + 1, 1, margin)
    near = torch.cat([near, 1 - near.amax(1, keepdim=True)], 1)  # and elsewhere
    positive = maps.clamp(min=0)
    total = positive.sum((1, 2))
    used = (total > _EMPTY) & (truth.sum(1) > 0)
    inside = torch.einsum("nhw,nkhw->nk", positive, near)[used] / total[used, None]
    area = near.mean((2, 3))[used]
    count = len(CUES)
    return Score(
        right=torch.minimum(inside[:, :count], truth[used]).sum(1),
        shares=inside[:, :count],
        elsewhere=inside[:, count],
        chance=torch.minimum(area[:, :count], truth[used]).sum(1),
        empty=(total <= _EMPTY).float().mean().item(),
    )
