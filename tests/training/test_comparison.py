"""The presets: the numbers of the losses they name, and what differs between them."""

import copy

import pytest
import torch
import torch.nn.functional as F

import kdlens
from kdlens.training.comparison import CONTROLLED, interpretability_comparison
from kdlens.training.losses import LOSSES, Inputs

PRESETS = {preset.name: preset for preset in interpretability_comparison()}
STUDENT, TEACHER, LABEL = torch.tensor([[2.0, 0, -1]]), torch.tensor([[1.0, 0.5, -2]]), torch.tensor([0])
MAPS = (torch.arange(8.0).view(1, 2, 2, 2),), (torch.ones(1, 3, 2, 2),)


def terms(name, **changes):
    preset = PRESETS[name]
    loss = LOSSES[preset.method].from_options({**preset.options, **changes})
    inputs = Inputs(LABEL, STUDENT, TEACHER, *MAPS)
    loss.build(inputs)
    return {term: value.item() for term, value in loss(inputs).items()}


def test_losses_by_hand():
    """Cross-entropy 0.169846, KL 0.214538 at T = 1 and 0.015888 at 4, attention 0.0441843, smoothing 0.336513."""
    assert terms("labels") == pytest.approx({"labels": 0.169846}, abs=1e-6)
    assert terms("label-smoothing") == pytest.approx({"labels": 0.336513}, abs=1e-6)
    assert terms("kd") == pytest.approx({"labels": 0.169846 / 2, "soft_targets": 0.214538 / 2}, abs=1e-6)
    assert sum(terms("kd").values()) == pytest.approx(0.192192, abs=1e-6)
    assert terms("self-kd") == pytest.approx(terms("kd"))
    assert terms("kd-t4")["soft_targets"] == pytest.approx(16 * 0.015888 / 2, abs=1e-5)
    assert sum(terms("kd-t4", alpha=0.9).values()) == pytest.approx(0.245770, abs=1e-6)
    assert terms("at", beta=1.0)["attention"] == pytest.approx(0.0441843, abs=1e-7)
    assert terms("at", beta=1.0)["labels"] == pytest.approx(0.169846, abs=1e-6)


@pytest.mark.parametrize(("temperature", "alpha", "published"), [(1.0, 0.5, 0.581127), (4.0, 0.9, 15.420074)])
def test_the_published_cross_entropy_form_is_ours_and_the_teachers_entropy(temperature, alpha, published):
    soft = (TEACHER / temperature).softmax(1)
    entropy = alpha * temperature**2 * -(soft * soft.log()).sum().item()
    ours = sum(terms("kd", temperature=temperature, alpha=alpha).values())
    assert ours + entropy == pytest.approx(published, abs=2e-6)


def test_both_forms_have_the_same_gradient():
    student = STUDENT.clone().requires_grad_()
    published = F.cross_entropy(student, TEACHER.softmax(1)) / 2 + F.cross_entropy(student, LABEL) / 2
    ours = sum(PRESETS["kd"].loss()(Inputs(LABEL, student, TEACHER)).values())
    [a], [b] = torch.autograd.grad(published, student), torch.autograd.grad(ours, student)
    torch.testing.assert_close(a, b)


def test_kd_and_label_smoothing_differ_in_the_second_target_alone():
    """A teacher that believes in nothing teaches what smoothing does, with as much weight."""
    uniform = torch.zeros(1, 3)
    kd = LOSSES["kd"].from_options({**CONTROLLED, "alpha": 0.1})
    student = STUDENT.clone().requires_grad_()
    [by_teacher] = torch.autograd.grad(sum(kd(Inputs(LABEL, student, uniform)).values()), student)
    smoothing = PRESETS["label-smoothing"].loss()
    [by_smoothing] = torch.autograd.grad(sum(smoothing(Inputs(LABEL, student)).values()), student)
    torch.testing.assert_close(by_teacher, by_smoothing)


def test_features_with_logits_are_features_and_the_soft_targets_of_kd():
    for name, term in (("at", "attention"), ("fitnet", "hint")):
        without, together = PRESETS[name], PRESETS[f"{name}+kd"]
        assert without.method == together.method
        assert {**without.loss().options, **CONTROLLED} == together.loss().options
        torch.manual_seed(0)
        alone = terms(name)
        torch.manual_seed(0)
        both = terms(f"{name}+kd")
        assert alone[term] == pytest.approx(both[term])
        assert "soft_targets" not in alone
        assert both["soft_targets"] == pytest.approx(terms("kd")["soft_targets"])


def test_names_are_different_and_teachers_are_there_where_they_are_needed():
    assert len(PRESETS) == len(interpretability_comparison()) == 11
    for preset in PRESETS.values():
        assert preset.about
        assert preset.loss().needs_teacher == (preset.teacher is not None)
    assert PRESETS["kd"].options == PRESETS["kd-smoothed"].options
    assert PRESETS["kd"].teacher != PRESETS["kd-smoothed"].teacher


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_trains(name, make_network, data):
    preset = PRESETS[name]
    student = make_network(4, seed=1)
    before = copy.deepcopy(student.state_dict())
    teacher = None if preset.teacher is None else make_network(4 if preset.teacher == "own architecture" else 8)
    result = kdlens.distill(teacher, student, data, method=preset.method, epochs=1, path_layers=(), **preset.options)
    assert result.earlier == ()
    assert not torch.equal(before["fc.weight"], student.state_dict()["fc.weight"])
