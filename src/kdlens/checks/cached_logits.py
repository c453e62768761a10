"""Do stored teacher outputs belong to these images, row by row?"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.checks.diagnosis import Check
from kdlens.checks.patient import NotApplicableError, Patient
from kdlens.questions.phrases import counted, number

Kind = Literal["aligned", "roughly", "shifted", "shuffled", "strange"]

CLOSE = 0.02
"""Largest difference of two class probabilities that mixed precision or another library version may make."""

MOST = 0.9


@dataclass(frozen=True)
class Alignment:
    """How stored outputs fit fresh ones.

    Attributes:
        kind: aligned; roughly (same predictions, other numbers); shifted by a number of rows; shuffled; or strange.
        agreement: share of images with the same prediction, row by row.
        shift: by how many rows, where shifted.
        found: share of images whose outputs stand in some other row.
    """

    kind: Kind
    agreement: float
    shift: int = 0
    found: float = 0.0


def align(cached: Float[Tensor, "n k"], fresh: Float[Tensor, "m k"], indices: Int[Tensor, " m"]) -> Alignment:
    """Compare stored outputs of all images with fresh ones of some.

    Logits are compared as log-probabilities, so a constant added to a row does not matter.

    Args:
        cached: stored outputs, one row an image.
        fresh: outputs computed now.
        indices: which images the fresh ones are of.

    Example:
        >>> cached = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
        >>> align(cached.roll(3, 0), cached[:20], torch.arange(20))
        Alignment(kind='shifted', agreement=..., shift=3, found=1.0)
    """
    stored, now = cached.double().log_softmax(1), fresh.double().log_softmax(1)
    own = stored[indices]
    agreement = (own.argmax(1) == now.argmax(1)).double().mean().item()
    if (_gap(own, now) <= CLOSE).double().mean() > MOST:
        return Alignment("aligned", agreement)
    distances, nearest = torch.cdist(now, stored).min(1)
    typical = torch.cdist(now, now).median()
    elsewhere = distances <= 0.02 * typical
    found = elsewhere.double().mean().item()
    shifts = (nearest - indices)[elsewhere] % len(stored)
    if found > MOST:
        shift = int(shifts.mode().values)
        same = (shifts == shift).double().mean() > MOST
        return Alignment("shifted" if same else "shuffled", agreement, shift if same else 0, found)
    return Alignment("roughly" if agreement > MOST else "strange", agreement, found=found)


def cached_logits(patient: Patient) -> Check:
    """Stored outputs out of order with the data: the classic reason why distillation does nothing."""
    name = "cached logits"
    cached = patient.cached_logits
    if cached is None:
        raise NotApplicableError("no cached logits were given")
    n, k = len(patient.images), patient.classes
    if cached.ndim != 2 or cached.shape != (n, k):
        message = f"Their shape is {tuple(cached.shape)}, but {n} images and {k} classes need ({n}, {k})."
        return Check(name, "fail", message, "Compute them again for exactly these images.")
    if not bool(torch.isfinite(cached).all()):
        return Check(name, "fail", "They contain NaN or infinite numbers.", "Compute them again.")
    if _are_probabilities(cached):
        message = "They are positive and sum to 1: probabilities, not logits."
        return Check(name, "fail", message, "Store logits; or take the logarithm, which a softmax accepts as logits.")
    found = align(cached, patient.logits("teacher"), patient.indices)
    return _tell(name, found, counted(len(patient.y), "image"), n)


def _tell(name: str, found: Alignment, n: str, rows: int) -> Check:
    agree = f"{number(100 * found.agreement)} % of {n} have the same prediction in both"
    if found.kind == "aligned":
        return Check(name, "ok", f"They equal the teacher's outputs, row by row ({n}).", value=found.agreement)
    if found.kind == "roughly":
        message = f"They belong to the same images but differ in numbers from the teacher's outputs: {agree}."
        advice = "Fine if they were stored with augmentation or another precision; else compute them again."
        return Check(name, "warn", message, advice, found.agreement)
    if found.kind == "shifted":
        back = found.shift if found.shift <= rows // 2 else found.shift - rows
        by = counted(abs(back), "row")
        message = f"They are shifted by {by}: the outputs of image i stand in row i{back:+d}; {agree}."
        advice = f"cached_logits.roll({-back}, 0) puts them right; look for a skipped or repeated image or header."
        return Check(name, "fail", message, advice, found.agreement)
    if found.kind == "shuffled":
        message = (
            f"They are in another order than the data: the outputs of {number(100 * found.found)} % of the images are "
            f"found in other rows; {agree}."
        )
        advice = (
            "They were stored while the data was shuffled. Store them without shuffling, or with the image's index."
        )
        return Check(name, "fail", message, advice, found.agreement)
    message = f"They are not the outputs of this teacher on these images: {agree}, and other rows fit no better."
    advice = "Check the teacher's weights and the preprocessing with which they were computed, or compute them again."
    return Check(name, "fail", message, advice, found.agreement)


def _gap(a: Tensor, b: Tensor) -> Tensor:
    return (a.exp() - b.exp()).abs().amax(1)


def _are_probabilities(x: Tensor) -> bool:
    return bool((x >= 0).all()) and bool(((x.double().sum(1) - 1).abs() < 1e-3).all())
