"""The slow, trusted form: blur patches of the image away, and see what the network has to say then.

A small patch says where, but seldom takes away enough of a large thing to matter; a large patch takes it away, but says
hardly where. So three sizes are used, coarse to fine: the effect of every large patch is dealt out to its pixels in
proportion to the finer map there.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.errors import ModelError
from kdlens.models.nested import first_tensor
from kdlens.models.state import undisturbed
from kdlens.models.wrappers import unwrap
from kdlens.questions.unicam.joint.blur import blurred
from kdlens.questions.unicam.joint.evidence import of_label

SCALES = ((5 / 32, 2 / 32), (9 / 32, 3 / 32), (13 / 32, 4 / 32))
"""Side of a patch and distance to the next, as shares of the shorter side; finest first."""

_FAINT = 1e-6  # so that an effect where the finer map shows none is dealt out evenly


def occlusion_effects(
    model: nn.Module, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]
) -> tuple[Float[Tensor, "n patches"], ...]:
    """How much evidence for the label is lost with each patch, in logits, for every size of patch.

    Raises:
        ModelError: the network gives no tensor.

    Source: occlusion, Zeiler and Fergus, ECCV 2014; patches are filled with the blurred image.
    """
    size = (images.shape[2], images.shape[3])
    fill = blurred(images)
    with undisturbed(model):
        whole = _evidence(model, images, labels)
        found = []
        for boxes in _boxes(size):
            lost = [whole - _evidence(model, _without(images, fill, box), labels) for box in boxes]
            found.append(torch.stack(lost, 1))
    return tuple(found)


def draw_occlusion(effects: tuple[Float[Tensor, "n patches"], ...], size: tuple[int, int]) -> Float[Tensor, "n h w"]:
    """The map: the finest effects averaged over the patches that cover a pixel, then the coarser ones dealt out."""
    kind = effects[0]
    covers = [_covers(boxes, size).to(kind) for boxes in _boxes(size)]
    fine = torch.einsum("np,phw->nhw", effects[0], covers[0]) / covers[0].sum(0)
    for effect, cover in zip(effects[1:], covers[1:], strict=True):
        fine = _dealt_out(effect, cover, fine)
    return fine


Box = tuple[slice, slice]


def _boxes(size: tuple[int, int]) -> list[list[Box]]:
    short = min(size)
    found = []
    for share, step in SCALES:
        side, stride = max(1, round(share * short)), max(1, round(step * short))
        rows, columns = (_starts(length, side, stride) for length in size)
        found.append([(slice(r, r + side), slice(c, c + side)) for r in rows for c in columns])
    return found


def _starts(length: int, side: int, stride: int) -> list[int]:
    starts = list(range(0, length - side + 1, stride))
    return starts if starts[-1] == length - side else [*starts, length - side]


def _covers(boxes: list[Box], size: tuple[int, int]) -> Float[Tensor, "patches h w"]:
    covers = torch.zeros(len(boxes), *size)
    for cover, (rows, columns) in zip(covers, boxes, strict=True):
        cover[rows, columns] = 1
    return covers


def _without(images: Tensor, fill: Tensor, box: Box) -> Tensor:
    changed = images.clone()
    changed[:, :, box[0], box[1]] = fill[:, :, box[0], box[1]]
    return changed


def _evidence(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    logits = first_tensor(unwrap(model)(images))
    if logits is None:
        raise ModelError(f"{type(unwrap(model)).__name__} gives no tensor")
    return of_label(logits.float(), labels)


def _dealt_out(effect: Tensor, cover: Tensor, fine: Tensor) -> Tensor:
    """Effects of patches on their pixels, in proportion to what the finer map shows of the same sign."""
    total = torch.zeros_like(fine)
    for sign in (1.0, -1.0):
        share = (sign * fine).clamp(min=0) + _FAINT
        within = torch.einsum("nhw,phw->np", share, cover)
        total += sign * share * torch.einsum("np,phw->nhw", (sign * effect).clamp(min=0) / within, cover)
    return total / cover.sum(0).mean()
