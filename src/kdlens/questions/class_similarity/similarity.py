"""Which classes a network finds alike: for the images of a class, how the other classes share what is left over."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import StatisticsError

Kind = Literal["probabilities", "logits"]


def class_similarity(
    logits: Float[Tensor, "n classes"],
    labels: Int[Tensor, " n"],
    *,
    temperature: float = 4.0,
    of: Kind = "probabilities",
) -> Float[Tensor, "classes classes"]:
    """Class-similarity matrix of a network: row a says how alike the other classes are to images of class a.

    Entry (a, b) is the mean over the images of class a of the probability of b at the temperature; the diagonal is left
    out and every row is divided by its sum, so that it says how the wrong classes share what the right one leaves, and
    not how much it leaves. An entry above 1 / (classes - 1) is more than an even share.

    Args:
        logits: `(n, classes)`.
        labels: `(n,)`, int64.
        temperature: logits are divided by it. At 1 a row is made by the few images that the network nearly gets wrong;
            the higher the temperature, the more evenly all images speak.
        of: `"probabilities"`, or `"logits"`, the mean over the images of a class of the logits less their mean over the
            other classes, which is what the order of a row tends to as the temperature grows, and has no temperature.

    Returns:
        `(classes, classes)` float64 with zero diagonal; the row of a class without images is NaN.

    Raises:
        StatisticsError: shapes that do not fit, labels outside the classes, fewer than 3 classes, a temperature that is
            not positive, NaN or infinite logits.

    Example:
        >>> class_similarity(torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([0]), temperature=1.0)[0]
        tensor([0.0000, 0.7311, 0.2689], dtype=torch.float64)

    Source: dark knowledge as the similarity of classes: Hinton, Vinyals and Dean, arXiv:1503.02531, section 2.
    """
    check(logits, labels)
    shown = shares(logits, temperature=temperature, of=of)
    counts = torch.bincount(labels, minlength=logits.shape[1])
    means = shown.new_zeros(logits.shape[1], logits.shape[1]).index_add_(0, labels, shown) / counts[:, None]
    return without_diagonal(means, of)


def shares(logits: Float[Tensor, "n classes"], *, temperature: float, of: Kind) -> Float[Tensor, "n classes"]:
    """What is averaged over the images of a class: probabilities at the temperature, or logits less their mean."""
    if of not in ("probabilities", "logits"):
        raise StatisticsError(f'of must be "probabilities" or "logits", not "{of}"')
    check_temperature(temperature)
    logits = logits.double()
    return (logits / temperature).softmax(1) if of == "probabilities" else logits - logits.mean(1, keepdim=True)


def without_diagonal(means: Float[Tensor, "*lead k k"], of: Kind) -> Float[Tensor, "*lead k k"]:
    """Leave the diagonal out: rows of probabilities sum to 1 after it, rows of logits to 0.

    Where nothing at all is left for the wrong classes, they share it evenly.
    """
    k = means.shape[-1]
    diagonal = torch.eye(k, dtype=torch.bool, device=means.device)
    rest = means.masked_fill(diagonal, 0.0)
    total = rest.sum(-1, keepdim=True)
    if of == "logits":
        return (rest - total / (k - 1)).masked_fill(diagonal, 0.0)
    even = torch.full_like(rest, 1 / (k - 1)).masked_fill(diagonal, 0.0)
    return torch.where(total == 0, even, rest / torch.where(total == 0, 1.0, total))


def check(logits: Tensor, labels: Tensor, *, least: int = 3) -> None:
    """Refuse logits and labels of which nothing can be said.

    Raises:
        StatisticsError: with the reason.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or len(labels) == 0:
        shapes = f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}"
        raise StatisticsError(f"need logits (n, classes) and labels (n,) of at least one image, got {shapes}")
    classes = logits.shape[1]
    if classes < least:
        raise StatisticsError(
            f"need {least} or more classes, got {classes}: with fewer there is no other one to prefer"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise StatisticsError(f"label {wrong} is outside the {classes} classes 0..{classes - 1}")
    broken = int((~torch.isfinite(logits).all(1)).sum())
    if broken:
        raise StatisticsError(
            f"{broken} of {len(logits)} images have NaN or infinite logits; leave them out and say so"
        )


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not positive and finite.

    Raises:
        StatisticsError: it is not.
    """
    if not 0 < temperature < float("inf"):
        raise StatisticsError(f"temperature must be positive and finite, got {temperature}")
