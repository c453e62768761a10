"""Hinton distillation against a calculation by hand."""

import math

import pytest
import torch

from kdlens.errors import ConfigError, ModelError
from kdlens.training.losses import Inputs
from kdlens.training.losses.kd import KD, soft_target_loss


def softened(logits, temperature):
    exponentials = [math.exp(value / temperature) for value in logits]
    return [value / sum(exponentials) for value in exponentials]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_it_is_t_squared_times_kl_summed_over_classes(temperature):
    student, teacher = [[0.2, -1.0, 0.5], [3.0, 0.0, 0.1]], [[1.5, 0.3, -0.7], [-1.0, 2.0, 0.0]]
    by_hand = 0.0
    for mine, theirs in zip(student, teacher, strict=True):
        p, q = softened(theirs, temperature), softened(mine, temperature)
        by_hand += temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / len(student)
    loss = soft_target_loss(
        torch.tensor(student, dtype=torch.float64), torch.tensor(teacher, dtype=torch.float64), temperature
    )
    assert loss.item() == pytest.approx(by_hand, rel=1e-12)


def test_the_gradient_is_t_times_the_difference_of_the_softened_outputs():
    student = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 6, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(soft_target_loss(student, teacher, 3.0), student)
    expected = 3.0 * ((student / 3).softmax(1) - (teacher / 3).softmax(1)) / 4
    torch.testing.assert_close(gradient, expected.detach())


def test_the_weights_mix_labels_and_teacher():
    inputs = Inputs(torch.tensor([1, 0]), torch.randn(2, 3), torch.randn(2, 3))
    terms = KD(alpha=0.3, temperature=2.0)(inputs)
    cross_entropy = torch.nn.functional.cross_entropy(inputs.student_logits, inputs.labels)
    torch.testing.assert_close(terms["labels"], 0.7 * cross_entropy)
    torch.testing.assert_close(
        terms["soft_targets"], 0.3 * soft_target_loss(inputs.student_logits, inputs.teacher_logits, 2.0)
    )


def test_its_gradient_is_not_negligible_beside_the_labels():
    """Published code divides by the number of classes twice over; then the teacher is switched off for many classes."""
    generator = torch.Generator().manual_seed(0)
    for classes in (10, 100, 1000):
        student = torch.randn(32, classes, generator=generator, requires_grad=True)
        labels = torch.randint(classes, (32,), generator=generator)
        terms = KD()(Inputs(labels, student, 3 * torch.randn(32, classes, generator=generator)))
        sizes = {n: torch.autograd.grad(t, student, retain_graph=True)[0].norm() for n, t in terms.items()}
        assert sizes["soft_targets"] > 0.1 * sizes["labels"]


def test_different_numbers_of_classes_are_refused():
    with pytest.raises(ModelError, match="teacher gives 10 classes and the student 5"):
        KD().build(Inputs(torch.zeros(1, dtype=torch.long), torch.zeros(1, 5), torch.zeros(1, 10)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive, not 0.0"),
        ({"alpha": 1.5}, "alpha must lie between 0 and 1, not 1.5"),
    ],
)
def test_senseless_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        KD(**options)
