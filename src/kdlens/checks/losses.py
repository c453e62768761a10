"""Checks of the user's distillation loss, and of how much it weighs beside the cross-entropy."""

import copy
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from kdlens.checks.diagnosis import Check
from kdlens.checks.given import role_of
from kdlens.checks.loss_probe import Loss, Probe, probe, softened_kl
from kdlens.checks.patient import NotApplicableError, Patient
from kdlens.models.device import device_of
from kdlens.models.wrappers import unwrap
from kdlens.questions.phrases import counted, number

AT_REST = 1e-3
NEGLIGIBLE, SMALL = 0.01, 0.05
IMAGES_FOR_GRADIENTS = 64


def loss_minimum(patient: Patient) -> Check:
    """A distillation loss must be lowest, and flat, where student and teacher agree."""
    name, found = "loss minimum", _probe(patient)
    if found.gradient == 0:
        return Check(
            name, "fail", "The loss sends no gradient to the student.", "Check for detach() and no_grad().", 0.0
        )
    if found.rest <= AT_REST and found.lowest:
        message = "The loss is lowest, with zero gradient, where student and teacher agree."
        return Check(name, "ok", message, value=found.rest)
    message = (
        f"Where student and teacher agree, the gradient is {number(100 * found.rest)} % of that between unrelated "
        f"networks{'' if found.lowest else ', and the loss is not lowest there'}: the student is drawn away from the "
        "teacher."
    )
    advice = (
        "F.kl_div takes the student's log_softmax first, then the teacher's softmax. Check for a softmax in place of "
        "log_softmax, a softmax applied twice, and different temperatures for student and teacher."
    )
    return Check(name, "fail", message, advice, found.rest)


def loss_reduction(patient: Patient) -> Check:
    """The loss must be a mean over images and a sum over classes, whatever their numbers."""
    name, found = "loss reduction", _probe(patient)
    if math.isnan(found.batch):
        raise NotApplicableError("the loss is zero")
    problems = []
    if abs(found.batch - 1) > 0.05:
        problems.append(f"with every image twice it grows by a factor of {number(found.batch, 2)} instead of staying")
    if abs(found.classes - 1) > 0.05:
        problems.append(
            "with as many further classes of no probability it changes by a factor of "
            f"{number(found.classes, 2)} instead of staying"
        )
    if not problems:
        return Check(name, "ok", "A mean over images and a sum over classes: independent of both numbers.", value=1.0)
    message = f"The loss depends on the batch: {' and '.join(problems)}."
    if abs(found.classes - 0.5) < 0.05:
        message += " It is divided by the number of classes."
    advice = (
        'Use F.kl_div(..., reduction="batchmean"); "mean" divides by the number of classes, too, and "sum" by nothing.'
    )
    return Check(name, "fail", message, advice, found.classes)


def loss_temperature(patient: Patient) -> Check:
    """Softening by T divides the gradient by T squared; the loss must multiply it back."""
    name, found = "loss temperature", _probe(patient)
    if math.isnan(found.temperature):
        raise NotApplicableError("the loss is no softened KL divergence of teacher and student")
    inside = f"temperature {number(found.temperature, 2)}, weight {number(found.weight, 3)}"
    missing = found.temperature > 1.5 and any(
        abs(found.weight / weight - 1) < 0.02 for weight in (1.0, patient.alpha) if weight > 0
    )
    if missing:
        message = (
            f"The factor T^2 is missing ({inside}): the gradient is {number(found.temperature**2, 1)} times smaller "
            "than meant, and smaller still at higher temperatures."
        )
        return Check(name, "fail", message, "Multiply the softened loss by the temperature squared.", found.weight)
    share = found.weight / found.temperature**2
    message = f"A softened KL divergence ({inside}, that is {number(share, 3)} T^2)."
    return Check(name, "ok", message, value=share)


def loss_direction(patient: Patient) -> Check:
    """KL(teacher || student) and its reverse teach different things."""
    name, found = "loss direction", _probe(patient)
    if found.reverse > 0.9999 and found.forward < 0.995:
        message = (
            "The loss is the reverse divergence, KL(student || teacher): it lets the student drop classes to which the "
            "teacher gives little."
        )
        advice = "If that is not meant, exchange the arguments: F.kl_div(student.log_softmax(1), teacher.softmax(1))."
        return Check(name, "warn", message, advice, found.forward)
    if found.forward > 0.995:
        return Check(
            name, "ok", "The gradient points from the student to the teacher's probabilities.", value=found.forward
        )
    raise NotApplicableError("the loss is no KL divergence of teacher and student")


def loss_and_teacher(patient: Patient) -> Check:
    """No gradient may reach a teacher that could learn from it."""
    name, found = "gradient into the teacher", _probe(patient)
    trainable = "teacher" in patient.networks and any(p.requires_grad for p in patient.networks["teacher"].parameters())
    if found.leak <= AT_REST:
        return Check(name, "ok", "The loss sends no gradient into the teacher's logits.", value=found.leak)
    if not trainable:
        message = "The loss sends a gradient into the teacher's logits, but the teacher's parameters are frozen."
        return Check(name, "ok", message, value=found.leak)
    message = "The loss sends a gradient into the teacher's logits, and the teacher's parameters can learn."
    advice = "Run the teacher under torch.no_grad(), or detach its logits; else it learns from the student."
    return Check(name, "warn", message, advice, found.leak)


def gradient_ratio(patient: Patient) -> Check:
    """A distillation gradient that is negligible beside that of the cross-entropy teaches nothing."""
    name = "distillation gradient"
    teacher = patient.logits("teacher")
    term, cross_entropy, what = _terms(patient)
    generator = torch.Generator().manual_seed(patient.seed)
    start = 0.1 * torch.randn(teacher.shape, generator=generator)
    ratio = _ratio(_at_logits(term, start, teacher), _at_logits(cross_entropy, start, patient.y))
    told = f"{_share(ratio)} of that of the cross-entropy at the logits of an untrained student"
    for student in [name for name in patient.usable() if role_of(name) == "student"]:
        told += _for_the_student(patient, student, term, cross_entropy, teacher)
    message = f"With {what}, the gradient of the distillation term is {told} (n = {counted(len(patient.y), 'image')})."
    if ratio >= SMALL:
        return Check(name, "ok", message, value=ratio)
    advice = (
        "The student learns from the labels alone. Raise the weight of the distillation term; check that the loss is a "
        "KL divergence with the factor T^2 and a sum over classes, not a mean squared error of probabilities."
    )
    return Check(name, "fail" if ratio < NEGLIGIBLE else "warn", message, advice, ratio)


Term = Callable[[Tensor, Tensor], Tensor]


def _terms(patient: Patient) -> tuple[Term, Term, str]:
    """Distillation term, cross-entropy term, and their description."""
    if patient.loss is not None:
        return patient.loss, F.cross_entropy, "the loss given, beside a cross-entropy of weight 1"
    t, alpha = patient.temperature, patient.alpha

    def soft(student: Tensor, teacher: Tensor) -> Tensor:
        return alpha * t**2 * softened_kl(student, teacher, t)

    def hard(student: Tensor, labels: Tensor) -> Tensor:
        return (1 - alpha) * F.cross_entropy(student, labels)

    return soft, hard, f"temperature {number(t, 1)} and alpha {number(alpha, 2)}"


def _for_the_student(patient: Patient, name: str, term: Term, cross_entropy: Term, teacher: Tensor) -> str:
    logits = patient.logits(name)
    at_logits = _ratio(_at_logits(term, logits, teacher), _at_logits(cross_entropy, logits, patient.y))
    one, other = _at_parameters(patient, name, term, cross_entropy, teacher)
    return f", and for the {name} as it is {_share(at_logits)} there and {_share(_ratio(one, other))} at its parameters"


def _at_logits(term: Term, logits: Tensor, target: Tensor) -> float:
    logits = logits.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(term(logits, target), logits)
    return gradient.norm().item()


def _at_parameters(
    patient: Patient, name: str, term: Term, cross_entropy: Term, teacher: Tensor
) -> tuple[float, float]:
    """Gradient norms of both terms at the parameters of a copy of a student, in eval mode."""
    student = copy.deepcopy(unwrap(patient.network(name))).eval().requires_grad_()
    few = slice(0, IMAGES_FOR_GRADIENTS)
    device = device_of(student)
    with torch.enable_grad():
        logits = student(patient.x[few].to(device)).cpu().float()
        norms = []
        for loss, target in ((term, teacher[few]), (cross_entropy, patient.y[few])):
            gradients = torch.autograd.grad(
                loss(logits, target), list(student.parameters()), retain_graph=True, allow_unused=True
            )
            norms.append(math.sqrt(sum(g.double().square().sum().item() for g in gradients if g is not None)))
    return norms[0], norms[1]


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.inf


def _share(ratio: float) -> str:
    return f"{ratio:.2g}" if ratio >= SMALL or ratio == 0 else f"only {ratio:.1e}"


def _probe(patient: Patient) -> Probe:
    if patient.loss is None:
        raise NotApplicableError("no loss was given")
    loss: Loss = patient.loss
    return probe(loss, seed=patient.seed)
