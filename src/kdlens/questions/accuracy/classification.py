"""How good logits are: accuracy, calibration, likeness to the teacher; where possible one number for each image.

Numbers per image rather than sums let every mean have its interval and every difference be paired.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.errors import DataError, ModelError
from kdlens.questions.named import NOTHING, named

Logits = Float[Tensor, "n classes"]
Labels = Int[Tensor, " n"]


def check_logits(name: str, logits: Tensor, labels: Tensor, classes: int) -> None:
    """Refuse logits that do not fit the labels or the class names.

    Args:
        name: the network, for the message.
        logits: `(n, classes)`.
        labels: `(n,)`.
        classes: number of classes of the data.

    Raises:
        DataError: no image, or a label outside the classes.
        ModelError: a wrong shape, or no image with finite logits.

    Example:
        >>> check_logits("kd", torch.zeros(2, 10), torch.tensor([0, 1]), 100)
        Traceback (most recent call last):
        kdlens.errors.ModelError: kd gives logits of shape (2, 10), but 2 images and 100 classes need (2, 100); ...
    """
    n = len(labels)
    if n == 0:
        raise DataError("there are no images to judge the networks on")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise DataError(f"label {wrong} is outside the {classes} classes 0..{classes - 1}")
    if logits.shape != (n, classes):
        raise ModelError(
            f"{name} gives logits of shape {tuple(logits.shape)}, but {n} images and {classes} classes need "
            f"({n}, {classes}); load the network with the class count of the data, or give the matching class list"
        )
    if not bool(finite_rows(logits).any()):
        raise ModelError(f"{name} gives NaN or infinite logits for all {n} images; check its weights and its input")


def finite_rows(logits: Logits) -> Bool[Tensor, " n"]:
    """Which images have finite logits.

    Example:
        >>> finite_rows(torch.tensor([[0.0, 1.0], [float("nan"), 0.0]])).tolist()
        [True, False]
    """
    return torch.isfinite(logits).all(1)


def correct(logits: Logits, labels: Labels) -> Bool[Tensor, " n"]:
    """Which images are named right (top-1); logits that are not finite are wrong, not right by accident.

    Example:
        >>> correct(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0])).tolist()
        [True, False]
    """
    return named(logits) == labels


def nll(logits: Logits, labels: Labels) -> Float[Tensor, " n"]:
    """Negative log-likelihood of the true class, nats, float64.

    Example:
        >>> nll(torch.zeros(1, 4), torch.tensor([2]))
        tensor([1.3863], dtype=torch.float64)
    """
    return -logits.double().log_softmax(1).gather(1, labels[:, None])[:, 0]


def brier(logits: Logits, labels: Labels) -> Float[Tensor, " n"]:
    """Brier score, the squared distance of the probabilities to the one-hot label, in [0, 2], float64.

    Example:
        >>> brier(torch.zeros(1, 2), torch.tensor([0]))
        tensor([0.5000], dtype=torch.float64)

    Source: Brier, Monthly Weather Review 78 (1950).
    """
    probabilities = logits.double().softmax(1)
    return probabilities.square().sum(1) - 2 * probabilities.gather(1, labels[:, None])[:, 0] + 1


def confidence(logits: Logits) -> Float[Tensor, " n"]:
    """Probability of the predicted class, float64."""
    return logits.double().softmax(1).amax(1)


def calibration_error(
    confidences: Float[Tensor, " n"], right: Bool[Tensor, " n"], *, bins: int = 15, adaptive: bool = False
) -> float:
    """Expected calibration error: the mean over bins of |share right - mean confidence|, weighted by images.

    Args:
        confidences: probability of the predicted class.
        right: whether the prediction is right.
        bins: number of bins.
        adaptive: bins of equal counts instead of equal width.

    Returns:
        A number in [0, 1]; 0 is perfectly calibrated. It is biased upwards for few images: judge it beside
        `calibration_null`.

    Example:
        >>> calibration_error(torch.tensor([0.75, 0.75]), torch.tensor([True, False]))
        0.25

    Source: Guo et al., ICML 2017, eq. 3; equal counts: Nguyen and O'Connor, EMNLP 2015.
    """
    gap = right.double() - confidences.double()
    if adaptive:
        order = right.double().argsort(stable=True)  # ties in confidence must not depend on the order of the images
        order = order[confidences[order].argsort(stable=True)]
        sums = torch.stack([part.sum() for part in gap[order].tensor_split(bins)])
    else:
        place = (confidences * bins).long().clamp(0, bins - 1)
        sums = gap.new_zeros(bins).index_add_(0, place, gap)
    return sums.abs().sum().item() / len(gap)


def calibration_null(
    confidences: Float[Tensor, " n"], *, seed: int, draws: int = 200, bins: int = 15, adaptive: bool = False
) -> Float[Tensor, " draws"]:
    """Calibration errors of a perfectly calibrated network with these confidences: what chance alone gives.

    Example:
        >>> null = calibration_null(torch.full((100,), 0.8), seed=0)
        >>> bool(null.mean() > 0.01)
        True

    Source: consistency resampling, Broecker and Smith, Weather and Forecasting 22 (2007).
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(draws, len(confidences), generator=generator, dtype=torch.float64) < confidences.double()
    errors = [calibration_error(confidences, right, bins=bins, adaptive=adaptive) for right in drawn]
    return torch.tensor(errors, dtype=torch.float64)


def agreement(logits: Logits, others: Logits) -> Bool[Tensor, " n"]:
    """Which images two networks name alike, right or wrong.

    Example:
        >>> agreement(torch.tensor([[2.0, 1.0]]), torch.tensor([[0.5, 0.1]])).tolist()
        [True]
    """
    mine = named(logits)
    return (mine == named(others)) & (mine != NOTHING)


def kl_to(teacher: Logits, logits: Logits, *, temperature: float = 1.0) -> Float[Tensor, " n"]:
    """KL divergence from the teacher's class probabilities to a network's, nats, float64; 0 where they are equal.

    Args:
        teacher: logits of the teacher.
        logits: logits of the network.
        temperature: divides both; no factor of its square is applied.

    Example:
        >>> kl_to(torch.zeros(1, 2), torch.zeros(1, 2))
        tensor([0.], dtype=torch.float64)
    """
    target = (teacher.double() / temperature).log_softmax(1)
    return (target.exp() * (target - (logits.double() / temperature).log_softmax(1))).sum(1)
