"""Is the input scaled the way the networks were trained with? Tried, not guessed."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.checks.diagnosis import Check, together
from kdlens.checks.patient import NotApplicableError, Patient
from kdlens.questions.accuracy.classification import correct
from kdlens.questions.phrases import counted, number, p_value
from kdlens.stats.resampling import mcnemar

Batch = Float[Tensor, "n c h w"]

KNOWN: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mean 0.5 and std 0.5": ((0.5,), (0.5,)),
    "mean 0.5 and std 0.25": ((0.5,), (0.25,)),
    "ImageNet's mean and std": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10's mean and std": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "CIFAR-100's mean and std": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "MNIST's mean and std": ((0.1307,), (0.3081,)),
    "Fashion-MNIST's mean and std": ((0.286,), (0.353,)),
}
LEAST_GAIN = 0.05
SURE = 0.01
_ROUNDING = 0.01  # pixels may leave [0, 1] this far by resizing


def normalisation(patient: Patient) -> Check:
    """Try other normalisations: does a network get clearly better with one of them?"""
    name = "normalisation"
    usable = patient.usable()
    pixels = to_pixels(patient.x, patient.images.mean, patient.images.std)
    range_text = f"inputs run from {number(patient.x.min().item(), 2)} to {number(patient.x.max().item(), 2)}"
    if pixels is None:
        raise NotApplicableError(f"the {range_text}, normalised in an unknown way; give mean and std to try others")
    options = alternatives(patient.x, pixels)
    found, largest = [], -math.inf
    for role in usable:
        trial = _best(patient, role, options)
        largest = max(largest, trial.gain)
        corrected = min(1.0, trial.p * len(options) * len(usable))
        if trial.gain >= LEAST_GAIN and corrected < SURE:
            message = (
                f"The {role} names {number(100 * trial.share)} % of the images right with {trial.option}, but "
                f"{number(100 * trial.given)} % as given (n = {counted(len(patient.y), 'image')}, {p_value(corrected)} "
                f"after correction); {range_text}."
            )
            advice = f"Normalise the images with {trial.option}, or as the {role} was trained."
            found.append(Check(name, "fail", message, advice, 100 * trial.gain))
    if found:
        return together(found)
    message = f"No network gets clearly better with another normalisation ({len(options)} tried); {range_text}."
    return Check(name, "ok", message, value=100 * largest)


def to_pixels(x: Batch, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> Batch | None:
    """Images in [0, 1], from what is known of their normalisation or can be told from their range.

    Returns:
        None where several known normalisations would fit, or none.

    Example:
        >>> to_pixels(torch.tensor([[[[0.0, 255.0]]]]), None, None)
        tensor([[[[0., 1.]]]])
    """
    if mean is not None and std is not None:
        return _undo(x, mean, std)
    low, high = x.min().item(), x.max().item()
    if low >= -_ROUNDING and high <= 1 + _ROUNDING:
        return x
    if low >= 0 and 2 < high <= 256:
        return x / 255
    fits = []
    for means, stds in KNOWN.values():
        if len(means) in (1, x.shape[1]):
            undone = _undo(x, means, stds)
            # black and white occur in real pictures, so the right one reaches both ends and passes neither
            ends = max(abs(undone.min().item()), abs(undone.max().item() - 1))
            if ends <= _ROUNDING:
                fits.append(undone)
    return fits[0] if len(fits) == 1 else None


def alternatives(given: Batch, pixels: Batch) -> dict[str, Batch]:
    """The same images under other normalisations, those that differ from the given one.

    Example:
        >>> x = torch.rand(2, 1, 4, 4)
        >>> "pixels in [0, 1]" in alternatives(x, x), "pixels in 0..255" in alternatives(x, x)
        (False, True)
    """
    channels = pixels.shape[1]
    found = {"pixels in [0, 1]": pixels, "pixels in 0..255": 255 * pixels}
    for name, (mean, std) in KNOWN.items():
        if len(mean) == channels or (len(mean) == 1 and mean[0] == 0.5):
            found[name] = (pixels - _shaped(mean)) / _shaped(std)
    if channels == 3:
        found["the channels in reverse order (BGR)"] = given.flip(1)
    return {name: x for name, x in found.items() if not torch.allclose(x, given, atol=1e-3)}


class _Trial(NamedTuple):
    """What a normalisation does for a network: gain with its p, and the share right with it and as given."""

    gain: float
    p: float
    option: str
    share: float
    given: float


def _best(patient: Patient, role: str, options: dict[str, Batch]) -> _Trial:
    """The normalisation that is best for a network."""
    given = patient.right(role)
    found = []
    for option, x in options.items():
        right = correct(patient.run(role, x), patient.y)
        p = mcnemar(int((given & ~right).sum()), int((right & ~given).sum()))
        share, before = right.double().mean().item(), given.double().mean().item()
        found.append(_Trial(share - before, p, option, share, before))
    return max(found, key=lambda trial: trial.gain)


def _undo(x: Batch, mean: tuple[float, ...], std: tuple[float, ...]) -> Batch:
    return x * _shaped(std) + _shaped(mean)


def _shaped(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)
