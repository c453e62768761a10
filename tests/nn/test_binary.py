"""Binary tasks out of K classes: targets, divergences and cross-entropies with known numbers."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import ConfigError, ModelError
from kdlens.nn import binary_cross_entropy, binary_kd_loss, binary_soft_targets, marginal_logits
from kdlens.training.losses.kd import soft_target_loss

Z = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
SOFTMAX = torch.tensor([[0.5, 0.5, 0.2, -0.3]], dtype=torch.float64)
SIGMOID = torch.tensor([[1.0, 0.0, 0.0, -1.0]], dtype=torch.float64)
LABEL = torch.tensor([0])


@pytest.mark.parametrize(
    ("temperature", "p", "r"),
    [
        (
            1.0,
            [0.64391426, 0.23688282, 0.08714432, 0.03205860],
            [0.59239404, -1.16984602, -2.34901222, -3.40760596],
        ),
        (
            4.0,
            [0.34993201, 0.27252732, 0.21224449, 0.16529618],
            [-0.61933808, -0.98183757, -1.31144890, -1.61933808],
        ),
    ],
)
def test_targets_are_the_exact_marginals(temperature, p, r):
    assert binary_soft_targets(Z, temperature)[0].tolist() == pytest.approx(p, abs=1e-8)
    assert marginal_logits(Z, temperature)[0].tolist() == pytest.approx(r, abs=1e-8)


def each_task(student, kind, temperature):
    """The divergence of every task alone, times T squared."""
    whole = binary_kd_loss(student, Z, temperature, student_kind=kind).item()
    s = marginal_logits(student, temperature) if kind == "softmax" else student / temperature
    p, q = binary_soft_targets(Z, temperature), s.sigmoid()
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    assert whole == pytest.approx(temperature**2 * each.sum().item(), abs=1e-12)
    return each[0].tolist()


def test_divergences_of_a_softmax_student():
    assert each_task(SOFTMAX, "softmax", 1.0) == pytest.approx(
        [0.22977420, 0.01434693, 0.07258081, 0.06795391], abs=1e-8
    )
    assert each_task(SOFTMAX, "softmax", 4.0) == pytest.approx(
        [0.01663527, 0.00008006, 0.00347767, 0.00886017], abs=1e-8
    )
    assert binary_kd_loss(SOFTMAX, Z, 1.0, student_kind="softmax").item() == pytest.approx(0.38465586, abs=1e-8)
    assert binary_kd_loss(SOFTMAX, Z, 4.0, student_kind="softmax").item() == pytest.approx(0.46485061, abs=1e-8)
    assert soft_target_loss(SOFTMAX, Z, 1.0).item() == pytest.approx(0.26432027, abs=1e-8)
    assert soft_target_loss(SOFTMAX, Z, 4.0).item() == pytest.approx(0.34480246, abs=1e-8)
    labels = F.cross_entropy(SOFTMAX, LABEL).item()
    assert 0.1 * labels + 0.9 * soft_target_loss(SOFTMAX, Z, 4.0).item() == pytest.approx(0.42632892, abs=1e-8)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, [-0.464340, 0.128538, 0.201542, 0.134259]), (4.0, [-0.446839, -0.024487, 0.193814, 0.277513])],
)
def test_gradients_of_a_softmax_student(temperature, expected):
    student = SOFTMAX.clone().requires_grad_()
    binary_kd_loss(student, Z, temperature, student_kind="softmax").backward()
    assert student.grad[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_divergences_of_a_sigmoid_student():
    assert each_task(SIGMOID, "sigmoid", 1.0) == pytest.approx(
        [0.01821466, 0.14568708, 0.39726663, 0.20349347], abs=1e-8
    )
    assert each_task(SIGMOID, "sigmoid", 4.0) == pytest.approx(
        [0.09105188, 0.10739078, 0.17623187, 0.16891475], abs=1e-8
    )
    assert binary_kd_loss(SIGMOID, Z, 1.0).item() == pytest.approx(0.76466184, abs=1e-8)
    assert binary_kd_loss(SIGMOID, Z, 4.0).item() == pytest.approx(8.69742844, abs=1e-8)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 2.01281774), ({"pos_weight": 3.0}, 2.63934111), ({"pos_weight": "balanced"}, 2.63934111)],
)
def test_cross_entropy_with_labels(options, expected):
    assert binary_cross_entropy(SIGMOID, LABEL, **options).item() == pytest.approx(expected, abs=1e-8)


def test_cross_entropy_with_smoothed_labels():
    smoothed = binary_cross_entropy(SIGMOID, LABEL, smoothing=0.1)
    assert smoothed.item() == pytest.approx(2.11281774, abs=1e-8)
    targets = torch.tensor([[0.925, 0.025, 0.025, 0.025]], dtype=torch.float64)
    assert smoothed.item() == pytest.approx(F.binary_cross_entropy_with_logits(SIGMOID, targets).item() * 4)
    halves = torch.tensor([[0.95, 0.05, 0.05, 0.05]], dtype=torch.float64)
    assert binary_cross_entropy(SIGMOID, LABEL, smoothing=0.1, kind="binary").item() == pytest.approx(
        F.binary_cross_entropy_with_logits(SIGMOID, halves).item() * 4
    )


def test_the_smoothing_identity_of_the_softmax():
    smoothed = F.cross_entropy(SOFTMAX, LABEL, label_smoothing=0.1).item()
    log_p = SOFTMAX.log_softmax(dim=1)
    assert smoothed == pytest.approx(1.18756706, abs=1e-8)
    assert 0.9 * -log_p[0, 0].item() + 0.1 * -log_p.mean().item() == pytest.approx(1.18756706, abs=1e-8)


def test_no_knowledge_costs_ln_2_a_task():
    zeros = torch.zeros(3, 10, dtype=torch.float64)
    labels = torch.tensor([0, 4, 9])
    assert binary_cross_entropy(zeros, labels).item() == pytest.approx(6.93147181, abs=1e-8)
    balanced = binary_cross_entropy(zeros, labels, pos_weight=9.0, reduction="mean").item()
    assert balanced == pytest.approx(1.24766493, abs=1e-8)


logits = st.lists(st.floats(-30, 30), min_size=4, max_size=4)


@settings(deadline=None)
@given(logits, st.sampled_from([0.5, 1.0, 4.0]))
def test_a_marginal_is_the_sigmoid_of_its_logit_and_they_add_up_to_one(z, temperature):
    z = torch.tensor([z], dtype=torch.float64)
    p = marginal_logits(z, temperature).sigmoid()
    torch.testing.assert_close(p, (z / temperature).softmax(dim=1), atol=1e-12, rtol=1e-9)
    assert p.sum().item() == pytest.approx(1.0)


@settings(deadline=None)
@given(logits, logits)
def test_no_task_diverges_more_than_the_softmax_and_equal_ones_not_at_all(z, s):
    z, s = (torch.tensor([x], dtype=torch.float64) for x in (z, s))
    r, own = marginal_logits(z), marginal_logits(s)
    each = r.sigmoid() * (F.logsigmoid(r) - F.logsigmoid(own))
    each = each + (-r).sigmoid() * (F.logsigmoid(-r) - F.logsigmoid(-own))
    assert each.max().item() <= soft_target_loss(s, z, 1.0).item() + 1e-9
    assert binary_kd_loss(z, z, student_kind="softmax").item() == pytest.approx(0.0, abs=1e-9)
    assert binary_kd_loss(4.0 * marginal_logits(z, 4.0), z, 4.0).item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("z", [[1000.0, -1000.0, 0.0], [1000.0, 1000.0, 1000.0], [-1000.0, -1000.0, -999.0]])
def test_huge_logits_stay_finite_with_their_gradients(z):
    student = torch.tensor([z], requires_grad=True)
    loss = binary_kd_loss(student, torch.tensor([z]).flip(1), 1.0, student_kind="softmax")
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


def test_two_logits_of_a_head_are_one_sigmoid():
    s = torch.randn(5, dtype=torch.float64)
    pair = torch.stack([torch.zeros_like(s), s], dim=1)
    torch.testing.assert_close(pair.softmax(dim=1)[:, 1], s.sigmoid())


def test_the_teacher_gets_no_gradient():
    teacher = Z.clone().requires_grad_()
    binary_kd_loss(SIGMOID.clone().requires_grad_(), teacher).backward()
    assert teacher.grad is None


def test_one_class_is_no_task():
    with pytest.raises(ModelError, match="at least two classes"):
        binary_soft_targets(torch.zeros(3, 1))


@pytest.mark.parametrize("options", [{"soft_target": "softmax"}, {"student_kind": "hme"}, {"reduction": "max"}])
def test_unknown_options_are_refused(options):
    with pytest.raises(ConfigError, match="it can be"):
        binary_kd_loss(Z, Z, **options)


def test_reductions_differ_by_the_number_of_tasks():
    total, mean = (binary_kd_loss(SIGMOID, Z, reduction=kind).item() for kind in ("sum", "mean"))
    assert total == pytest.approx(4 * mean)
    assert math.isfinite(total)
