"""Joint maps of a pair of networks: effects, temperatures, the null band, and what they give."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.questions.unicam.cam import common_scale
from kdlens.questions.unicam.joint.band import Band, above, band_of, within
from kdlens.questions.unicam.joint.evidence import fit_temperature
from kdlens.questions.unicam.joint.forms import Effects, Form, at_temperature, less

RESAMPLES = 20
_ROUNDING = 1e-4
"""Share of a network's own evidence below which a difference is rounding."""


@dataclass(frozen=True)
class Traced:
    """Some images as one network speaks of them.

    Attributes:
        effects: what parts of the images add to its centred logit of the label.
        temperatures: `(n,)` each image's temperature, fitted without it.
    """

    effects: Effects
    temperatures: Float[Tensor, " n"]

    @property
    def evidence(self) -> Effects:
        """Effects in nats of calibrated evidence."""
        return at_temperature(self.effects, self.temperatures)


def signed_maps(form: Form, own: Traced, other: Traced | None, size: tuple[int, int]) -> Float[Tensor, "n h w"]:
    """Where a network has evidence that the other has not (positive), and the reverse (negative), in nats a pixel."""
    return form.draw(less(own.evidence, other.evidence if other else None), size)


def null_band(form: Form, pairs: Sequence[tuple[Traced, Traced | None]], size: tuple[int, int], *, source: str) -> Band:
    """The band of pairs of networks that have nothing of their own, or of labels that are not the images'.

    It is never narrower than the rounding of the networks' own maps.
    """
    band = band_of([signed_maps(form, own, other, size) for own, other in pairs], source)
    own = max(float(signed_maps(form, own, None, size).abs().max()) for own, _ in pairs)
    return Band(max(band.pixel, _ROUNDING * own), max(band.peak, _ROUNDING * own), source)


@dataclass(frozen=True)
class Shown:
    """Signed maps made ready for people.

    Attributes:
        maps: in [0, 1]: positive evidence beyond the band, on one scale.
        empty: `(n,)` bool, nothing positive is beyond the band.
        in_band: `(n,)` bool, the map as a whole shows no more than null maps do.
    """

    maps: Float[Tensor, "n h w"]
    empty: Tensor
    in_band: Tensor


def shown(signed: Float[Tensor, "n h w"], band: Band, scale: float) -> Shown:
    """Cut what is inside the band, and bring the rest to the scale."""
    maps = (above(signed, band).clamp(min=0) / scale).clamp(max=1)
    return Shown(maps, maps.amax((1, 2)) <= 0, within(signed, band))


def scale_of(signed: Sequence[Float[Tensor, "n h w"]]) -> float:
    """One scale for maps of both signs."""
    return common_scale([part for maps in signed for part in (maps, -maps)])


def confidence(
    form: Form,
    own: Traced,
    other: Traced | None,
    size: tuple[int, int],
    compared: Sequence[Float[Tensor, "m classes"]],
    labels: Int[Tensor, " m"],
    *,
    seed: int,
) -> Float[Tensor, "n h w"]:
    """Share of resampled comparison sets under which a pixel keeps its sign.

    Args:
        form: how evidence was traced back.
        own: the first network.
        other: the second.
        size: height and width of the maps.
        compared: logits of the networks on the comparison set, which the temperatures rest on.
        labels: its labels.
        seed: of the resampling.
    """
    signs = signed_maps(form, own, other, size).sign()
    generator = torch.Generator().manual_seed(seed)
    kept = torch.zeros_like(signs)
    for _ in range(RESAMPLES):
        drawn = torch.randint(len(labels), (len(labels),), generator=generator)
        fitted = [fit_temperature(logits[drawn], labels[drawn]) for logits in compared]
        again = [
            Traced(traced.effects, torch.full_like(traced.temperatures, t))
            for traced, t in zip((own, other) if other else (own,), fitted, strict=True)
        ]
        kept += signed_maps(form, again[0], again[1] if other else None, size).sign() == signs
    return kept / RESAMPLES
