"""The causal check: does the student lose its lead where the map says it has one?

Pixels are taken away (blurred) in the order of a map, or put back into a blurred image in that order. The lead is the
student's evidence for the label less the baseline's, in nats, of the very images so changed: both networks run again,
so this tests the map and does not repeat it. What the map calls distilled must cost the student its lead; as much of
what it calls residual must not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.context import Trio
from kdlens.questions.unicam.joint.blur import blurred, smooth
from kdlens.questions.unicam.joint.gradients import SMOOTHING
from kdlens.questions.unicam.joint.temperatures import Temperatures
from kdlens.questions.unicam.study_maps import StudyMaps
from kdlens.questions.unicam.view import View

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3)
"""Shares of the image taken away or put back."""

ORDERS = ("distilled", "residual", "random")


@dataclass(frozen=True)
class Curves:
    """What one pair of networks does.

    Attributes:
        lead: `(n,)` the student's lead on the whole images, in nats.
        deletion: order -> `(shares, n)` lead that is lost with so much of the image.
        insertion: order -> `(shares, n)` lead that so much of the image brings to the blurred one.
    """

    lead: Float[Tensor, " n"]
    deletion: Mapping[str, Float[Tensor, "shares n"]]
    insertion: Mapping[str, Float[Tensor, "shares n"]]


def causal_curves(view: View, maps: StudyMaps, temperatures: Temperatures, trio: Trio) -> Curves:
    """Delete and insert in the orders of the two maps and of chance, on the comparison set.

    Args:
        view: the study through UniCAM's eyes.
        maps: draws its maps, by either protocol.
        temperatures: of the networks.
        trio: student and baseline.
    """
    images = view.batch().images
    fill = blurred(images.float()).to(images)

    def lead(changed: Tensor) -> Tensor:
        evidence = (temperatures.evidence(s, changed, view.reference) for s in (trio.student, trio.baseline))
        return next(evidence) - next(evidence)

    whole, empty = lead(images), lead(fill)
    deletion, insertion = {}, {}
    for order, ranks in _orders(view, maps, trio).items():
        chosen = [(ranks < share).to(images.device)[:, None] for share in SHARES]
        deletion[order] = torch.stack([whole - lead(torch.where(part, fill, images)) for part in chosen])
        insertion[order] = torch.stack([lead(torch.where(part, images, fill)) - empty for part in chosen])
    return Curves(whole, deletion, insertion)


def _orders(view: View, maps: StudyMaps, trio: Trio) -> dict[str, Float[Tensor, "n h w"]]:
    """Place of every pixel in each order, from 0 to 1."""
    distilled = maps.whole(trio.student, trio.baseline)
    residual = maps.whole(trio.baseline, trio.student)
    generator = torch.Generator().manual_seed(view.context.seed)
    noise = smooth(torch.randn(distilled.shape, generator=generator), SMOOTHING)
    return {name: _ranks(map_) for name, map_ in zip(ORDERS, (distilled, residual, noise), strict=True)}


def _ranks(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    flat = maps.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    places = torch.arange(flat.shape[1], dtype=torch.float32).expand_as(flat) / flat.shape[1]
    return torch.empty_like(places).scatter(1, order, places).view_as(maps)
