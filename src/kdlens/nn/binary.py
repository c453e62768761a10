"""K classes as K yes-no tasks: the teacher's answers to each, and losses to learn them.

The K-class softmax p answers task c with (p_c, 1 - p_c), its exact marginal: all that is lost is how the rest is split
among the other classes. Its logit, r_c = z_c / T - logsumexp of the others, is what everything here is computed from.

Sources: that K classes become K binary tasks and that a Kullback-Leibler term is distilled, Xue et al. (IJCAI 2021);
the marginal as soft target is the most likely reading, not printed there in any form we could check.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from kdlens.errors import ConfigError, ModelError

Reduction = Literal["sum", "mean"]
"""Over tasks; over images it is always the mean."""


def marginal_logits(logits: Float[Tensor, "n k"], temperature: float = 1.0) -> Float[Tensor, "n k"]:
    """Return the logit of every class's marginal: sigmoid of it is softmax(logits / temperature).

    Gradients are finite for logits of any size.

    Raises:
        ModelError: fewer than two classes.

    Example:
        >>> marginal_logits(torch.tensor([[2.0, 1.0, 0.0, -1.0]])).sigmoid()
        tensor([[0.6439, 0.2369, 0.0871, 0.0321]])
    """
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise ModelError(f"logits of at least two classes, (n, K), are needed; got {tuple(logits.shape)}")
    log_p = torch.log_softmax(logits / temperature, dim=1)
    largest = F.one_hot(log_p.argmax(dim=1), log_p.shape[1]).bool()
    others = torch.logsumexp(log_p.masked_fill(largest, -torch.inf), dim=1, keepdim=True)
    rest = torch.log1p(-log_p.masked_fill(largest, -torch.inf).exp())  # p <= 1/2: no digit is lost
    return log_p - torch.where(largest, others, rest)


def binary_soft_targets(logits: Float[Tensor, "n k"], temperature: float = 1.0) -> Float[Tensor, "n k"]:
    """Return what a teacher with these logits answers to every task: the softmax, read as K marginals.

    Example:
        >>> binary_soft_targets(torch.tensor([[0.0, 0.0]]))
        tensor([[0.5000, 0.5000]])
    """
    return marginal_logits(logits, temperature).sigmoid()


def binary_kd_loss(
    student: Float[Tensor, "n k"],
    teacher: Float[Tensor, "n k"],
    temperature: float = 4.0,
    *,
    reduction: Reduction = "sum",
    soft_target: Literal["marginal", "sigmoid"] = "marginal",
    student_kind: Literal["sigmoid", "softmax"] = "sigmoid",
) -> Float[Tensor, ""]:
    """Return T^2 times the Kullback-Leibler divergence of every task, summed over tasks, mean over images, in nats.

    There is no weight for positives here: a weighted divergence is smallest where student and teacher differ.

    Args:
        student: one logit a task (yes minus no), or the logits of a softmax.
        teacher: logits of a softmax; no gradient is sent here.
        temperature: T, positive; softens both sides.
        reduction: sum or mean over tasks.
        soft_target: the marginals of the teacher's softmax, or the sigmoid of each of its logits alone.
        student_kind: whether the student's logits are those of K sigmoids or of one softmax, whose marginals are taken.

    Example:
        >>> z = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
        >>> binary_kd_loss(z, z, student_kind="softmax").abs().item() < 1e-6
        True
    """
    check_one_of("soft_target", soft_target, ("marginal", "sigmoid"))
    check_one_of("student_kind", student_kind, ("sigmoid", "softmax"))
    teacher = teacher.detach()
    r = marginal_logits(teacher, temperature) if soft_target == "marginal" else teacher / temperature
    s = marginal_logits(student, temperature) if student_kind == "softmax" else student / temperature
    p = r.sigmoid()
    yes = p * (F.logsigmoid(r) - F.logsigmoid(s))
    no = r.neg().sigmoid() * (F.logsigmoid(-r) - F.logsigmoid(-s))
    return temperature**2 * over_tasks(yes + no, reduction)


def binary_cross_entropy(
    student: Float[Tensor, "n k"],
    labels: Int[Tensor, " n"],
    *,
    smoothing: float = 0.0,
    kind: Literal["marginal", "binary"] = "marginal",
    pos_weight: float | Literal["balanced"] | None = None,
    reduction: Reduction = "sum",
) -> Float[Tensor, ""]:
    """Return the cross-entropy of every task with its (smoothed) label, in nats.

    Args:
        student: one logit a task (yes minus no).
        labels: class indices.
        smoothing: epsilon. All wrong classes get the same target, so smoothing knows nothing of which are alike.
        kind: targets `(1 - eps) [y = c] + eps / K`, the marginal of the smoothed label, or `+ eps / 2`.
        pos_weight: weight of the one yes among K tasks; `"balanced"` is K - 1.
        reduction: sum or mean over tasks.

    Example:
        >>> round(binary_cross_entropy(torch.zeros(1, 10), torch.tensor([3])).item(), 4)
        6.9315
    """
    check_one_of("kind", kind, ("marginal", "binary"))
    classes = student.shape[1]
    floor = smoothing / (classes if kind == "marginal" else 2)
    targets = (1 - smoothing) * F.one_hot(labels, classes).to(student.dtype) + floor
    weight = classes - 1 if pos_weight == "balanced" else pos_weight
    tensor = None if weight is None else student.new_tensor(float(weight))
    each = F.binary_cross_entropy_with_logits(student, targets, pos_weight=tensor, reduction="none")
    return over_tasks(each, reduction)


def over_tasks(each: Float[Tensor, "n k"], reduction: Reduction) -> Float[Tensor, ""]:
    """Sum or average over tasks, then average over images."""
    check_one_of("reduction", reduction, ("sum", "mean"))
    return (each.sum(dim=1) if reduction == "sum" else each.mean(dim=1)).mean()


def check_one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    """Raise `ConfigError` unless the option is one of those known."""
    if value not in known:
        raise ConfigError(f'{name} is "{value}"; it can be {" or ".join(known)}')
