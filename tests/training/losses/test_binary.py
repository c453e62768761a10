"""K classes as K yes-no tasks: the methods against numbers by hand."""

import dataclasses
import inspect
import math

import pytest
import torch

from kdlens.errors import ConfigError, ModelError
from kdlens.training.api import distill
from kdlens.training.losses import LOSSES, Inputs
from kdlens.training.losses.binary import BinaryKD, BinaryLabels, BinaryLabelSmoothing

TEACHER = [2.0, 1.0, 0.0, -1.0]
SIGMOIDS, SOFTMAX = [1.0, 0.0, 0.0, -1.0], [0.5, 0.5, 0.2, -0.3]
VARIANTS = [{}, {"soft_target": "sigmoid"}, {"student_kind": "softmax"}]


def inputs(student, *, label=0, teacher=TEACHER):
    logits = torch.tensor([student], dtype=torch.float64, requires_grad=True)
    return Inputs(torch.tensor([label]), logits, torch.tensor([teacher], dtype=torch.float64))


def value(loss, given, term="labels"):
    return loss(given)[term].item()


def test_labels_are_k_questions():
    assert value(BinaryLabels(), inputs(SIGMOIDS)) == pytest.approx(2.01281774)
    assert value(BinaryLabels(reduction="mean"), inputs(SIGMOIDS)) == pytest.approx(2.01281774 / 4)


@pytest.mark.parametrize("weight", [3.0, "balanced"])
def test_the_one_yes_can_weigh_more(weight):
    """Of four classes one is the image's, so balanced is 3."""
    assert value(BinaryLabels(pos_weight=weight), inputs(SIGMOIDS)) == pytest.approx(2.63934111)


def test_balanced_answers_all_zero():
    given = inputs([0.0] * 10, teacher=[0.0] * 10)
    assert value(BinaryLabels(), given) == pytest.approx(10 * math.log(2))
    assert value(BinaryLabels(pos_weight="balanced"), given) == pytest.approx(18 * math.log(2))


def test_smoothed_labels():
    assert value(BinaryLabelSmoothing(), inputs(SIGMOIDS)) == pytest.approx(2.11281774)
    assert value(BinaryLabelSmoothing(smoothing=0.0), inputs(SIGMOIDS)) == pytest.approx(2.01281774)
    by_hand = sum(
        math.log1p(math.exp(-s)) * t + math.log1p(math.exp(s)) * (1 - t)
        for s, t in zip(SIGMOIDS, [0.95, 0.05, 0.05, 0.05], strict=True)
    )
    assert value(BinaryLabelSmoothing(kind="binary"), inputs(SIGMOIDS)) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("logits", "student", "temperature", "expected"),
    [
        (SOFTMAX, "softmax", 1.0, 0.38465586),
        (SOFTMAX, "softmax", 4.0, 0.46485061),
        (SIGMOIDS, "sigmoid", 1.0, 0.76466184),
        (SIGMOIDS, "sigmoid", 4.0, 8.69742844),
    ],
)
def test_soft_targets_are_the_teachers_marginals(logits, student, temperature, expected):
    loss = BinaryKD(alpha=1.0, temperature=temperature, student_kind=student)
    assert value(loss, inputs(logits), "soft_targets") == pytest.approx(expected, abs=1e-7)
    mean = BinaryKD(alpha=1.0, temperature=temperature, student_kind=student, reduction="mean")
    assert value(mean, inputs(logits), "soft_targets") == pytest.approx(expected / 4, abs=1e-7)


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [(1.0, (-0.464340, 0.128538, 0.201542, 0.134259)), (4.0, (-0.446839, -0.024487, 0.193814, 0.277513))],
)
def test_the_gradient_of_a_softmax_student(temperature, expected):
    given = inputs(SOFTMAX)
    soft = BinaryKD(alpha=1.0, temperature=temperature, student_kind="softmax")(given)["soft_targets"]
    (gradient,) = torch.autograd.grad(soft, given.student_logits)
    assert gradient[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_sigmoids_can_learn_sigmoids():
    by_hand = 0.0
    for z, s in zip(TEACHER, SIGMOIDS, strict=True):
        p, q = 1 / (1 + math.exp(-z / 2)), 1 / (1 + math.exp(-s / 2))
        by_hand += 4 * (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)))
    loss = BinaryKD(alpha=1.0, temperature=2.0, soft_target="sigmoid")
    assert value(loss, inputs(SIGMOIDS), "soft_targets") == pytest.approx(by_hand)


@pytest.mark.parametrize("options", VARIANTS)
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_whoever_agrees_has_nothing_to_learn(options, temperature):
    loss = BinaryKD(alpha=1.0, temperature=temperature, **options)
    given = inputs(TEACHER)
    agreed = loss.agreeing(given.teacher_logits).requires_grad_()
    soft = loss(dataclasses.replace(given, student_logits=agreed))["soft_targets"]
    (gradient,) = torch.autograd.grad(soft, agreed)
    assert soft.item() == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max() < 1e-12


def test_the_sigmoids_of_a_student_that_learned_marginals_are_the_teachers_shares():
    loss = BinaryKD(temperature=4.0)
    says = loss.agreeing(torch.tensor([TEACHER])) / 4
    expected = [[0.34993201, 0.27252732, 0.21224449, 0.16529618]]
    torch.testing.assert_close(says.sigmoid(), torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_equal_logits_do_not_agree_where_they_mean_different_things():
    given = inputs(TEACHER)
    assert value(BinaryKD(alpha=1.0), given, "soft_targets") > 1
    assert value(BinaryKD(alpha=1.0, student_kind="softmax"), given, "soft_targets") == pytest.approx(0, abs=1e-12)


def test_the_weights_mix_labels_and_teacher():
    given = inputs(SIGMOIDS)
    terms = BinaryKD(alpha=0.3, temperature=4.0)(given)
    assert terms["labels"].item() == pytest.approx(0.7 * 2.01281774)
    assert terms["soft_targets"].item() == pytest.approx(0.3 * 8.69742844, abs=1e-7)


def test_labels_of_a_softmax_student_are_asked_of_its_shares():
    shares = torch.tensor(SOFTMAX).softmax(0).tolist()
    by_hand = -math.log(shares[0]) - sum(math.log1p(-p) for p in shares[1:])
    assert value(BinaryKD(alpha=0.0, student_kind="softmax"), inputs(SOFTMAX)) == pytest.approx(by_hand, rel=1e-5)


def test_two_classes_say_everything_twice():
    """With K = 2 the marginals are the softmax, so the binary term is twice Hinton's for a softmax student."""
    given = inputs([0.3, -0.4], teacher=[1.0, -2.0])
    hinton = value(LOSSES["kd"](alpha=1.0), given, "soft_targets")
    assert value(BinaryKD(alpha=1.0, student_kind="softmax"), given, "soft_targets") == pytest.approx(2 * hinton)


def test_every_option_can_be_given_to_distill():
    """An option called as one of its arguments could not."""
    for kind in map(LOSSES.__getitem__, LOSSES.names()):
        assert not {f.name for f in dataclasses.fields(kind) if f.init} & set(inspect.signature(distill).parameters)


def test_different_numbers_of_classes_are_refused():
    with pytest.raises(ModelError, match="teacher gives 10 classes and the student 5"):
        BinaryKD().build(Inputs(torch.zeros(1, dtype=torch.long), torch.zeros(1, 5), torch.zeros(1, 10)))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("binary-kd", {"temperature": 0.0}, "temperature must be positive, not 0.0"),
        ("binary-kd", {"alpha": 1.5}, "alpha must lie between 0 and 1, not 1.5"),
        ("binary-kd", {"soft_target": "multiclass"}, "soft_target must be marginal or sigmoid, not multiclass"),
        ("binary-kd", {"student_kind": "tree"}, "student_kind must be sigmoid or softmax, not tree"),
        ("binary-kd", {"student_kind": "softmax", "soft_target": "sigmoid"}, "could never learn"),
        ("binary-labels", {"pos_weight": 0}, 'pos_weight must be a positive number, "balanced" or None, not 0'),
        ("binary-labels", {"pos_weight": "balance"}, "pos_weight must be a positive number"),
        ("binary-labels", {"reduction": "max"}, "reduction must be sum or mean, not max"),
        ("binary-label-smoothing", {"smoothing": 1.0}, "smoothing must be at least 0 and less than 1, not 1.0"),
        ("binary-label-smoothing", {"kind": "uniform"}, "kind must be marginal or binary, not uniform"),
    ],
)
def test_senseless_options_are_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        LOSSES[name].from_options(options)
