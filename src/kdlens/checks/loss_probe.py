"""What a distillation loss does, found by calling it: no source code is read.

The probe knows the loss as a function of two tensors of logits. Near zero logits every softened KL divergence is
quadratic, far from it its gradient saturates; from the two slopes follow the temperature and the weight inside it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]

_IMAGES, _CLASSES = 16, 10
_DEAD = -1e4  # a logit whose probability is zero at any temperature in use
_TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0)


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        gradient: gradient norm at the student's logits for unrelated networks.
        rest: the same where student and teacher are equal, relative to `gradient`.
        lowest: whether the loss is lowest where they are equal.
        batch: factor on the loss when every image is given twice: 1 for a mean over images, 2 for a sum.
        classes: factor when as many classes without probability are added: 1 for a sum over classes, 0.5 for a mean.
        temperature: temperature found inside, NaN if the loss is no softened KL divergence.
        weight: weight of the KL divergence, T^2 included, NaN likewise.
        forward: cosine of its gradient with that of KL(teacher || student).
        reverse: cosine of its gradient with that of KL(student || teacher).
        leak: gradient norm into the teacher's logits, relative to `gradient`.
    """

    gradient: float
    rest: float
    lowest: bool
    batch: float
    classes: float
    temperature: float
    weight: float
    forward: float
    reverse: float
    leak: float


def probe(loss: Loss, *, seed: int = 0) -> Probe:
    """Call a loss on made-up logits and see what it does.

    Args:
        loss: `loss(student_logits, teacher_logits)` -> a scalar tensor.
        seed: of the logits.

    Raises:
        Exception: whatever the loss raises; `ValueError` if it gives no finite scalar tensor with a gradient.

    Example:
        >>> def hinton(student, teacher):
        ...     return 16 * softened_kl(student, teacher, 4)
        >>> found = probe(hinton)
        >>> round(found.temperature, 2), round(found.weight, 2), round(found.batch, 2), round(found.classes, 2)
        (4.0, 16.0, 1.0, 1.0)
    """
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(_IMAGES, _CLASSES, generator=generator) for _ in range(2))
    value, gradient = _call(loss, student, teacher)
    equal, rest = _call(loss, teacher, teacher)
    size = gradient.norm().item()
    batch = _call(loss, student.repeat(2, 1), teacher.repeat(2, 1))[0] / value if value else math.nan
    wide = [torch.cat([x, torch.full_like(x, _DEAD)], 1) for x in (student, teacher)]
    classes = _call(loss, *wide)[0] / value if value else math.nan
    temperature, weight = _inside(loss)
    forward, reverse = _directions(gradient, student, teacher)
    return Probe(
        gradient=size,
        rest=rest.norm().item() / size if size else math.nan,
        lowest=equal <= value,
        batch=batch,
        classes=classes,
        temperature=temperature,
        weight=weight * _undo(classes, batch),
        forward=forward,
        reverse=reverse,
        leak=_leak(loss, student, teacher) / size if size else math.nan,
    )


def softened_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """KL(teacher || student) of the softened probabilities, the mean over images."""
    t = temperature
    return F.kl_div((student / t).log_softmax(1), (teacher / t).softmax(1), reduction="batchmean")


def _undo(classes: float, batch: float) -> float:
    """Factor that takes a division by the number of classes, or a missing one by that of images, out of the weight."""
    by_class = _CLASSES if abs(classes - 0.5) < 0.05 else 1
    by_batch = _IMAGES if abs(batch - 2) < 0.05 else 1
    return by_class / by_batch


def _call(loss: Loss, student: Tensor, teacher: Tensor) -> tuple[float, Tensor]:
    """Value, and gradient at the student's logits."""
    student = student.detach().clone().requires_grad_()
    with torch.enable_grad():
        value = loss(student, teacher.detach().clone())
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ValueError("it must return a scalar tensor")
        if not value.requires_grad:
            raise ValueError("it has no gradient with respect to the student's logits; was it detached?")
        (gradient,) = torch.autograd.grad(value.sum(), student, allow_unused=True)
    if not math.isfinite(value.item()):
        raise ValueError(f"it gives {value.item()} for ordinary logits")
    return value.item(), torch.zeros_like(student) if gradient is None else gradient


def _leak(loss: Loss, student: Tensor, teacher: Tensor) -> float:
    teacher = teacher.detach().clone().requires_grad_()
    with torch.enable_grad():
        value = loss(student.detach().clone().requires_grad_(), teacher)
        (gradient,) = torch.autograd.grad(value.sum(), teacher, allow_unused=True)
    return 0.0 if gradient is None else gradient.norm().item()


def _inside(loss: Loss) -> tuple[float, float]:
    """Temperature and weight of a softened KL divergence, from the slope at zero and the gradient far away.

    For a student without opinion and a teacher with logit a on one class of C, the gradient at that class is
    w / T (1/C - p), with p the teacher's softened probability: its slope at a = 0 is -w / T^2 (1/C) (1 - 1/C), its
    limit -w / T (1 - 1/C). A third point in between tells whether the loss is of this kind at all.
    """

    def push(a: float) -> float:
        teacher = torch.zeros(_IMAGES, _CLASSES)
        teacher[:, 0] = a
        return -_call(loss, torch.zeros_like(teacher), teacher)[1][:, 0].sum().item()

    c, small = _CLASSES, 0.02
    slope = (push(small) - push(-small)) / (2 * small)
    limit = push(-_DEAD)
    if slope <= 0 or limit <= 0 or not math.isfinite(slope * limit):
        return math.nan, math.nan
    temperature = limit / (slope * c)
    weight = slope * temperature**2 * c / (1 - 1 / c)
    middle = 2 * temperature
    p = math.exp(2) / (math.exp(2) + c - 1)
    expected = weight / temperature * (p - 1 / c)
    return (temperature, weight) if abs(push(middle) / expected - 1) < 0.02 else (math.nan, math.nan)


def _directions(gradient: Tensor, student: Tensor, teacher: Tensor) -> tuple[float, float]:
    """Best cosine with the gradients of both KL divergences over common temperatures."""
    forward: list[float] = []
    reverse: list[float] = []
    for t in _TEMPERATURES:

        def towards(s: Tensor, z: Tensor, t: float = t) -> Tensor:
            return softened_kl(s, z, t)

        def backwards(s: Tensor, z: Tensor, t: float = t) -> Tensor:
            return softened_kl(z, s, t)

        for found, kind in ((forward, towards), (reverse, backwards)):
            other = _call(kind, student, teacher)[1]
            found.append(F.cosine_similarity(gradient.flatten(), other.flatten(), dim=0).item())
    return max(forward), max(reverse)
