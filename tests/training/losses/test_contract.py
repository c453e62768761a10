"""The contract every registered loss keeps. A new method is tested by being registered."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdlens.errors import ConfigError
from kdlens.training.losses import LOSSES, Inputs
from kdlens.training.losses.kd import KD, soft_target_loss
from kdlens.training.losses.labels import label_term

METHODS = LOSSES.names()
TAUGHT = [name for name in METHODS if LOSSES[name].needs_teacher]
EPOCHS = 10
ON_LOGITS = [name for name in TAUGHT if hasattr(LOSSES[name], "temperature")]


def make_inputs(n=6, classes=7, *, seed=0, dtype=torch.float64, same=False, scale=3.0):
    """Logits and two feature maps of a student and a teacher; `same` makes the student the teacher."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    taught = scale * draw(n, classes)
    maps = (draw(n, 3, 4, 4), draw(n, 5, 2, 2))
    mine = taught.clone() if same else scale * draw(n, classes)
    my_maps = tuple(m.clone() for m in maps) if same else tuple(draw(*m.shape) for m in maps)
    return Inputs(
        labels=torch.randint(classes, (n,), generator=generator),
        student_logits=mine.requires_grad_(),
        teacher_logits=taught.requires_grad_(),
        student_features=tuple(m.requires_grad_() for m in my_maps),
        teacher_features=tuple(m.requires_grad_() for m in maps),
        epoch=0,
    )


def make_loss(name, inputs, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loss = LOSSES[name](**options)
        loss.plan(EPOCHS)
        loss.build(inputs)
    return loss.to(inputs.student_logits.dtype)


def distillation(terms):
    """Everything but the label term."""
    return sum(value for name, value in terms.items() if name != "labels")


def of_student(inputs):
    return [inputs.student_logits, *inputs.student_features]


def with_soft_targets(name):
    """Options under which every part of a method is on."""
    return {"alpha": 0.5} if "alpha" in LOSSES[name]().options else {}


def saying(loss, logits):
    """The student's logits that say what these logits of a teacher would say: mostly the same."""
    return loss.agreeing(logits.detach()).requires_grad_()


def agreed(loss, inputs):
    """The student says all that the teacher says."""
    features = tuple(f.detach().clone().requires_grad_() for f in inputs.teacher_features)
    logits = saying(loss, inputs.teacher_logits.clone())
    return dataclasses.replace(inputs, student_logits=logits, student_features=features)


@pytest.mark.parametrize("name", TAUGHT)
def test_nothing_to_learn_where_student_equals_teacher(name):
    inputs = make_inputs(same=True)
    method = make_loss(name, inputs, **with_soft_targets(name))
    inputs = agreed(method, inputs)
    loss = distillation(method(inputs))
    gradients = torch.autograd.grad(loss, of_student(inputs), allow_unused=True, materialize_grads=True)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    for gradient in gradients:
        assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("name", TAUGHT)
@pytest.mark.parametrize("seed", range(5))
def test_that_is_the_minimum_and_moving_away_costs(name, seed):
    inputs = make_inputs(same=True, seed=seed)
    loss = make_loss(name, inputs, **with_soft_targets(name))
    moved = agreed(loss, inputs)
    here = distillation(loss(moved))
    generator = torch.Generator().manual_seed(100 + seed)

    def push(x):
        return x.detach() + 0.1 * torch.randn(x.shape, generator=generator, dtype=x.dtype)

    away = dataclasses.replace(
        moved,
        student_logits=push(moved.student_logits),
        student_features=tuple(push(f) for f in moved.student_features),
    )
    assert distillation(loss(away)) > here + 1e-6


@pytest.mark.parametrize("name", TAUGHT)
def test_swapping_teacher_and_student_changes_the_gradient(name):
    inputs = make_inputs()
    loss = make_loss(name, inputs, **with_soft_targets(name))
    swapped = dataclasses.replace(
        inputs,
        student_logits=inputs.teacher_logits,
        teacher_logits=inputs.student_logits,
        student_features=inputs.teacher_features,
        teacher_features=inputs.student_features,
    )
    one = torch.autograd.grad(distillation(loss(inputs)), of_student(inputs), allow_unused=True, materialize_grads=True)
    other = torch.autograd.grad(
        distillation(loss(swapped)), of_student(swapped), allow_unused=True, materialize_grads=True
    )
    assert any(not torch.allclose(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("name", ON_LOGITS)
def test_the_gradient_keeps_its_size_when_the_temperature_rises(name):
    """T^2 KL at softened outputs tends to half the squared distance of centred logits over K: independent of T."""
    inputs = make_inputs(scale=0.5)
    norms = []
    for temperature in (50.0, 100.0, 200.0):
        loss = make_loss(name, inputs, temperature=temperature, **with_soft_targets(name))
        says = saying(loss, inputs.student_logits)
        soft = loss(dataclasses.replace(inputs, student_logits=says))["soft_targets"]
        norms.append(torch.autograd.grad(soft, says)[0].norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.02)
    assert norms[2] == pytest.approx(norms[1], rel=0.01)
    taught = inputs.teacher_logits - inputs.teacher_logits.mean(1, keepdim=True)
    mine = inputs.student_logits - inputs.student_logits.mean(1, keepdim=True)
    limit = 0.5 * (mine - taught) / mine.numel()
    assert norms[2] == pytest.approx(limit.norm().item(), rel=0.02)


@pytest.mark.parametrize("name", METHODS)
def test_a_batch_twice_as_large_weighs_the_same(name):
    inputs = make_inputs()
    loss = make_loss(name, inputs, **with_soft_targets(name))
    twice = Inputs(
        labels=inputs.labels.repeat(2),
        student_logits=inputs.student_logits.repeat(2, 1),
        teacher_logits=inputs.teacher_logits.repeat(2, 1),
        student_features=tuple(f.repeat(2, 1, 1, 1) for f in inputs.student_features),
        teacher_features=tuple(f.repeat(2, 1, 1, 1) for f in inputs.teacher_features),
    )
    once, doubled = loss(inputs), loss(twice)
    for term, value in once.items():
        assert doubled[term].item() == pytest.approx(value.item(), rel=1e-12)


# smoothing spreads over all classes by definition
@pytest.mark.parametrize("name", [name for name in METHODS if not hasattr(LOSSES[name], "smoothing")])
def test_classes_that_nobody_believes_in_change_nothing(name):
    """A hidden division by the number of classes would show: 93 classes of probability 0 are added to 7."""
    inputs = make_inputs()
    loss = make_loss(name, inputs, **with_soft_targets(name))

    def pad(logits):
        return torch.cat([logits, torch.full((len(logits), 93), -1e4, dtype=logits.dtype)], dim=1)

    wider = dataclasses.replace(
        inputs, student_logits=pad(inputs.student_logits), teacher_logits=pad(inputs.teacher_logits)
    )
    before, after = loss(inputs), loss(wider)
    for term, value in before.items():
        assert after[term].item() == pytest.approx(value.item(), rel=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_no_gradient_reaches_the_teacher(name):
    inputs = make_inputs()
    total = sum(make_loss(name, inputs, **with_soft_targets(name))(inputs).values())
    teachers = [inputs.teacher_logits, *inputs.teacher_features]
    assert torch.autograd.grad(total, teachers, allow_unused=True) == (None,) * len(teachers)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [0.0, 1e4])
@pytest.mark.parametrize("name", METHODS)
def test_extreme_outputs_give_finite_losses_and_gradients(name, size, dtype):
    inputs = make_inputs(dtype=torch.float32)
    loss = make_loss(name, inputs, **with_soft_targets(name))
    signs = torch.where(inputs.student_logits > 0, size, -size).detach()
    features = tuple((0.0 * f.detach()).to(dtype).requires_grad_() for f in inputs.student_features)
    extreme = dataclasses.replace(
        inputs,
        student_logits=signs.to(dtype).requires_grad_(),
        teacher_logits=-signs.to(dtype),
        student_features=features,
    )
    total = sum(loss(extreme).values())
    gradients = torch.autograd.grad(total, of_student(extreme), allow_unused=True, materialize_grads=True)
    assert torch.isfinite(total)
    assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_is_the_derivative(name):
    inputs = make_inputs(n=3, classes=4)
    loss = make_loss(name, inputs, **with_soft_targets(name))

    def total(logits, *features):
        return sum(loss(dataclasses.replace(inputs, student_logits=logits, student_features=features)).values())

    assert torch.autograd.gradcheck(total, of_student(inputs), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_terms_are_named_scalars_and_options_make_the_same_loss(name):
    inputs = make_inputs()
    loss = make_loss(name, inputs)
    terms = loss(inputs)
    last = loss(dataclasses.replace(inputs, epoch=EPOCHS - 1))  # a method may begin without the labels
    assert "labels" in last
    assert all(value.shape == () for value in terms.values())
    again = make_loss(name, inputs, **loss.options)
    assert again.options == loss.options
    assert {k: v.item() for k, v in again(inputs).items()} == {k: v.item() for k, v in terms.items()}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_a_module_documented_and_called_by_its_name(name):
    kind = LOSSES[name]
    assert kind.name == name
    assert issubclass(kind, nn.Module)
    assert len(kind.__doc__.splitlines()[0]) > 20


@pytest.mark.parametrize("name", METHODS)
def test_an_unknown_option_is_an_error_that_names_the_nearest(name):
    with pytest.raises(ConfigError, match=f'method "{name}" has no option "alhpa"'):
        LOSSES[name].from_options({"alhpa": 1})


@pytest.mark.parametrize("name", TAUGHT)
def test_without_a_teacher_it_says_so(name):
    inputs = make_inputs()
    loss = make_loss(name, inputs, **with_soft_targets(name))
    with pytest.raises((ConfigError, ValueError)):
        loss(dataclasses.replace(inputs, teacher_logits=None, teacher_features=()))


@pytest.mark.parametrize("name", METHODS)
def test_who_agrees_has_the_same_favourite(name):
    """So that `agreeing` cannot be anything that makes a wrong loss look right."""
    inputs = make_inputs(n=20)
    loss = make_loss(name, inputs, **with_soft_targets(name))
    ranking = loss.agreeing(inputs.teacher_logits).argsort(dim=1)
    assert torch.equal(ranking, inputs.teacher_logits.argsort(dim=1))


@dataclasses.dataclass(eq=False, repr=False)
class MeanOfSoftenedSquares(KD):
    """The mean over images and classes of squared differences of probabilities: published, and nearly nothing."""

    def forward(self, inputs):
        student, teacher = (x / self.temperature for x in (inputs.student_logits, inputs.teacher_logits.detach()))
        squares = (student.softmax(1) - teacher.softmax(1)).square().mean()
        return {"labels": label_term(inputs), "soft_targets": self.temperature**2 * squares}


@dataclasses.dataclass(eq=False, repr=False)
class WithoutTheSquare(KD):
    """T^2 forgotten."""

    def forward(self, inputs):
        soft = soft_target_loss(inputs.student_logits, inputs.teacher_logits, self.temperature)
        return {"labels": label_term(inputs), "soft_targets": soft / self.temperature**2}


@dataclasses.dataclass(eq=False, repr=False)
class MeanOverClasses(KD):
    """`reduction="mean"`: a hidden division by the number of classes."""

    def forward(self, inputs):
        soft = soft_target_loss(inputs.student_logits, inputs.teacher_logits, self.temperature)
        return {"labels": label_term(inputs), "soft_targets": soft / inputs.student_logits.shape[1]}


@dataclasses.dataclass(eq=False, repr=False)
class SumOverImages(KD):
    """A sum where a mean belongs."""

    def forward(self, inputs):
        soft = soft_target_loss(inputs.student_logits, inputs.teacher_logits, self.temperature)
        return {"labels": label_term(inputs), "soft_targets": soft * len(inputs.labels)}


@dataclasses.dataclass(eq=False, repr=False)
class TeacherLearns(KD):
    """The teacher's gradient not cut off."""

    def forward(self, inputs):
        gap = (inputs.student_logits - inputs.teacher_logits).square().sum(1).mean()
        return {"labels": label_term(inputs), "soft_targets": gap}


@dataclasses.dataclass(eq=False, repr=False)
class ProbabilitiesForLogarithms(KD):
    """Probabilities given where log-probabilities belong, teacher and student swapped."""

    def forward(self, inputs):
        teacher = inputs.teacher_logits.detach().softmax(1)
        soft = F.kl_div(teacher, inputs.student_logits.softmax(1), reduction="batchmean")
        return {"labels": label_term(inputs), "soft_targets": soft}


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        (MeanOfSoftenedSquares, test_the_gradient_keeps_its_size_when_the_temperature_rises),
        (MeanOfSoftenedSquares, test_classes_that_nobody_believes_in_change_nothing),
        (WithoutTheSquare, test_the_gradient_keeps_its_size_when_the_temperature_rises),
        (MeanOverClasses, test_classes_that_nobody_believes_in_change_nothing),
        (SumOverImages, test_a_batch_twice_as_large_weighs_the_same),
        (TeacherLearns, test_no_gradient_reaches_the_teacher),
        (ProbabilitiesForLogarithms, test_nothing_to_learn_where_student_equals_teacher),
    ],
)
def test_the_contract_catches_published_mistakes(wrong, check, monkeypatch):
    monkeypatch.setitem(LOSSES._loaded, "wrong", wrong)
    with pytest.raises(AssertionError):
        check("wrong")
