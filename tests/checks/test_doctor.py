"""Every check finds its planted fault and stays quiet on a healthy triple."""

import copy
import json
import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import kdlens
from kdlens.checks import CHECKS, Check, Diagnosis, doctor
from kdlens.checks.cached_logits import align
from kdlens.checks.label_order import order_of_outputs
from kdlens.checks.normalisation import KNOWN, to_pixels
from kdlens.data.images import Images
from kdlens.errors import ConfigError, DataError, ModelError

pytestmark = pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")


def hinton(student, teacher, t=4.0):
    soft = F.kl_div((student / t).log_softmax(1), (teacher / t).softmax(1).detach(), reduction="batchmean")
    return 0.5 * t * t * soft


def logits_of(network, images):
    with torch.no_grad():
        return network(images.batch(torch.arange(len(images)))[0])


class Wrapped(nn.Module):
    def __init__(self, network, change):
        super().__init__()
        self.network, self.change = network, change

    def forward(self, x):
        return self.change(self.network(x))


@pytest.fixture(scope="session")
def healthy(trained, images):
    cached = logits_of(trained[0], images)
    return doctor(*trained, images, loss=hinton, cached_logits=cached)


@pytest.mark.parametrize("name", CHECKS.names())
def test_every_check_is_quiet_on_a_healthy_triple(healthy, name):
    assert healthy[name].status == "ok", str(healthy[name])
    assert not healthy[name].advice


def test_a_healthy_diagnosis(healthy):
    assert healthy.ok
    assert healthy.alerts == []
    assert len(healthy) == len(CHECKS.names())


def test_networks_come_back_as_they_were(triple, images):
    triple[0].train()
    before = [copy.deepcopy(network.state_dict()) for network in triple]
    flags = [[m.training for m in network.modules()] for network in triple]
    random = torch.get_rng_state()
    doctor(*triple, images, loss=hinton)
    for network, state, flag in zip(triple, before, flags, strict=True):
        assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
        assert [m.training for m in network.modules()] == flag
        assert all(p.grad is None for p in network.parameters())
    assert torch.equal(random, torch.get_rng_state())


def test_train_mode_is_found_with_its_effect(triple, images):
    teacher, student, baseline = triple
    found = doctor(teacher.train(), student, baseline, images)["train mode"]
    assert found.status == "fail"
    assert "teacher: in training mode as given (3 layers of the teacher" in found.message
    assert found.value > 0.02
    assert ".eval() on the teacher" in found.advice
    assert doctor(teacher.eval(), student.train(), baseline, images)["train mode"].status == "warn"


def test_train_mode_does_not_matter_without_batch_norm_and_dropout(images):
    plain = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).train()
    assert doctor(plain, None, data=images)["train mode"].status == "ok"


def test_wrong_normalisation_is_found_and_the_right_one_named(triple, pixels):
    found = doctor(*triple, pixels)["normalisation"]
    assert found.status == "fail"
    assert "with Fashion-MNIST's mean and std, but" in found.message
    assert "inputs run from 0.00 to 1.00" in found.message
    assert found.value > 5


def test_pixels_to_255_are_found(triple, images):
    x, y, _ = images.batch(torch.arange(400))
    data = Images(list(zip((x * 0.353 + 0.286) * 255, y.tolist(), strict=True)), classes=images.classes)
    found = doctor(*triple, data)["normalisation"]
    assert found.status == "fail"
    assert "Fashion-MNIST's mean and std" in found.message


def test_normalising_twice_is_found(triple, images):
    x, y, _ = images.batch(torch.arange(400))
    twice = Images(list(zip(x, y.tolist(), strict=True)), mean=(0.286,), std=(0.353,), classes=images.classes)
    assert "with pixels in [0, 1]" in doctor(*triple, twice)["normalisation"].message


def test_an_unknown_normalisation_cannot_be_judged(triple, images):
    x, y, _ = images.batch(torch.arange(100))
    data = Images(list(zip(x.cos() * 3 + 1, y.tolist(), strict=True)), classes=images.classes)
    found = doctor(*triple, data)["normalisation"]
    assert found.status == "skipped"
    assert "give mean and std to try others" in found.message


@pytest.mark.parametrize("name", ["mean 0.5 and std 0.5", "ImageNet's mean and std"])
def test_known_normalisations_are_undone(name):
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in KNOWN[name])
    x = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    x[0, :, 0, 0], x[0, :, 0, 1] = 0, 1
    torch.testing.assert_close(to_pixels((x - mean) / std, None, None), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(to_pixels((x - mean) / std, KNOWN[name][0], KNOWN[name][1]), x, atol=1e-5, rtol=0)
    assert to_pixels(torch.randn(4, 3, 8, 8), None, None) is None


@pytest.mark.parametrize("role", [0, 1])
def test_a_permuted_head_is_found_and_named(triple, images, role):
    order = torch.arange(10)
    order[[2, 7]] = torch.tensor([7, 2])
    head = triple[role].fc
    with torch.no_grad():
        head.weight.copy_(head.weight[order].clone())
        head.bias.copy_(head.bias[order].clone())
    found = doctor(*triple, images)["label order"]
    assert found.status == "fail"
    assert found.message.startswith(f"The {('teacher', 'student')[role]}'s outputs stand in another order")
    assert 'output 2 is taken for class 7 ("Sneaker") and output 7 is taken for class 2 ("Pullover")' in found.message


def test_a_shifted_head_is_told_as_a_shift(triple, images):
    turned = Wrapped(triple[0], lambda logits: logits.roll(1, 1))
    found = doctor(turned, *triple[1:], images)["label order"]
    assert "every output is taken for the class 9 places further" in found.message


def test_guessing_with_many_classes_is_not_taken_for_a_permutation():
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        logits = torch.randn(256, 100, generator=generator)
        assert not order_of_outputs(logits, torch.randint(100, (256,), generator=generator)).wrong


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda c: c.roll(7, 0), r"shifted by 7 rows: the outputs of image i stand in row i\+7"),
        (lambda c: c.roll(-1, 0), "shifted by 1 row: the outputs of image i stand in row i-1"),
        (
            lambda c: c[torch.randperm(400, generator=torch.Generator().manual_seed(0))],
            "in another order than the data",
        ),
        (lambda c: c[:399], r"Their shape is \(399, 10\), but 400 images and 10 classes need \(400, 10\)"),
        (lambda c: c.softmax(1), "probabilities, not logits"),
        (lambda c: torch.where(c == c[3, 3], math.nan, c), "NaN"),
        (lambda c: torch.randn(400, 10, generator=torch.Generator().manual_seed(1)), "not the outputs of this teacher"),
    ],
)
def test_cached_logits_out_of_order_are_found(triple, images, spoil, text):
    found = doctor(*triple, images, cached_logits=spoil(logits_of(triple[0], images)))["cached logits"]
    assert found.status == "fail"
    assert re.search(text, found.message), found.message
    assert found.advice


def test_cached_logits_of_another_precision_are_fine(triple, images, tmp_path):
    import numpy as np

    cached = logits_of(triple[0], images)
    assert doctor(*triple, images, cached_logits=cached.half().float() + 3)["cached logits"].status == "ok"
    np.save(tmp_path / "c.npy", cached.numpy())
    assert doctor(*triple, images, cached_logits=tmp_path / "c.npy")["cached logits"].status == "ok"
    noisy = cached + 0.3 * torch.randn(400, 10, generator=torch.Generator().manual_seed(0))
    assert align(noisy, cached, torch.arange(400)).kind == "roughly"
    with pytest.raises(ConfigError, match=r"npy or \.safetensors"):
        doctor(*triple, images, cached_logits="c.pkl")


def test_a_negligible_gradient_is_found_with_its_ratio(triple, images):
    def inert(student, teacher):  # mean squared error of probabilities at temperature 20
        return 0.3 * 400 * F.mse_loss((student / 20).softmax(1), (teacher / 20).softmax(1))

    found = doctor(*triple, images, loss=inert)["distillation gradient"]
    assert found.status == "fail"
    assert found.value < 0.01
    assert "only" in found.message
    assert "at its parameters" in found.message
    assert doctor(*triple, images, alpha=0.002)["distillation gradient"].status == "fail"
    assert doctor(*triple, images, alpha=0.9)["distillation gradient"].status == "ok"


def test_the_ratio_is_the_one_of_the_gradients(triple, images):
    first = doctor(*triple, images, alpha=0.5)["distillation gradient"].value
    second = doctor(*triple, images, alpha=0.25)["distillation gradient"].value
    assert first == pytest.approx(3 * second, rel=1e-4)  # alpha / (1 - alpha)


@pytest.mark.parametrize(
    ("loss", "check", "status", "text"),
    [
        (
            lambda s, z: 16 * F.kl_div((s / 4).log_softmax(1), (z / 4).softmax(1), reduction="mean"),
            "loss reduction",
            "fail",
            "divided by the number of classes",
        ),
        (
            lambda s, z: 16 * F.kl_div((s / 4).log_softmax(1), (z / 4).softmax(1), reduction="sum"),
            "loss reduction",
            "fail",
            "grows by a factor of 2.00",
        ),
        (
            lambda s, z: F.kl_div((s / 4).log_softmax(1), (z / 4).softmax(1), reduction="batchmean"),
            "loss temperature",
            "fail",
            r"T\^2 is missing \(temperature 4.00, weight 1.000\)",
        ),
        (
            lambda s, z: 16 * F.kl_div((s / 4).softmax(1), (z / 4).softmax(1), reduction="batchmean"),
            "loss minimum",
            "fail",
            "drawn away from the teacher",
        ),
        (lambda s, z: 0 * s.sum(), "loss minimum", "fail", "no gradient"),
        (
            lambda s, z: F.kl_div(z.log_softmax(1), s.softmax(1), reduction="batchmean"),
            "loss direction",
            "warn",
            "reverse divergence",
        ),
        (
            lambda s, z: 16 * F.kl_div((s / 4).log_softmax(1), (z / 4).softmax(1), reduction="batchmean"),
            "gradient into the teacher",
            "warn",
            "parameters can learn",
        ),
        (lambda s, z: (s - z).square(), "loss minimum", "fail", "must return a scalar tensor"),
        (lambda s: s.sum(), "loss minimum", "fail", "could not be finished: TypeError"),
    ],
)
def test_a_wrong_loss_is_found(triple, images, loss, check, status, text):
    found = doctor(*triple, images, loss=loss)[check]
    assert found.status == status
    assert re.search(text, found.message), found.message


def test_a_gradient_into_a_frozen_teacher_is_harmless(triple, images):
    triple[0].requires_grad_(False)

    def loss(s, z):
        return F.kl_div(s.log_softmax(1), z.softmax(1), reduction="batchmean")

    assert doctor(*triple, images, loss=loss)["gradient into the teacher"].status == "ok"


def test_the_same_network_twice_is_found(triple, images):
    teacher, student, _ = triple
    found = doctor(teacher, student, copy.deepcopy(student), images)["different networks"]
    assert (found.status, found.message) == ("fail", "The student and the baseline have the same weights.")
    found = doctor(teacher, student, Wrapped(student, lambda logits: logits), images)["different networks"]
    assert found.message == "The student and the baseline have the same outputs for every image."
    assert doctor(teacher, teacher, None, images)["different networks"].status == "fail"


def test_a_teacher_that_is_not_better_or_guesses_is_found(triple, images):
    teacher, student, baseline = triple
    assert "worse than" in doctor(baseline, student, teacher, images)["teacher against baseline"].message
    with torch.no_grad():
        teacher.fc.weight.normal_(generator=torch.Generator().manual_seed(0))
    found = doctor(teacher, student, baseline, images)
    assert found["teacher against baseline"].status == "warn"
    assert found["accuracy"].status == "fail"
    assert found["accuracy"].message.startswith("Not better than guessing: teacher.")


@pytest.mark.parametrize(
    ("keep", "status", "text"),
    [
        (range(6), "fail", "Only 6 images"),
        (range(40), "warn", "40 images of 10 classes, 4 of the smallest"),
        ([i for i in range(400) if i % 10 == 3], "fail", "40 images of 1 class."),
        ([i for i in range(400) if i % 10 != 3], "warn", 'no images of "Dress"'),
    ],
)
def test_too_few_images_are_told(triple, images, keep, status, text):
    found = doctor(*triple, images.subset(list(keep)))["images"]
    assert (found.status, text in found.message) == (status, True), found.message


def test_layers_that_give_no_map_are_found(triple, images):
    found = doctor(*triple, images, layers=["layer2", "fc"])["layers"]
    assert found.status == "fail"
    assert 'last layer of the teacher that gives a map is "layer2"' in found.advice
    fine = doctor(*triple, images, layers={"teacher": ["layer1"], "student": ["layer2"]})["layers"]
    assert "teacher layer1; student layer2; baseline layer1 and layer2" in fine.message
    found = doctor(*triple, images, layers=["layer5"])["layers"]
    assert "did you mean" in found.message


def test_dead_and_constant_layers_are_found(triple, images):
    with torch.no_grad():
        triple[1].layer2[1].weight.zero_()
        triple[1].layer2[1].bias.fill_(-1.0)
    found = doctor(*triple, images)["activations"]
    assert found.status == "fail"
    assert 'layer "layer2" of the student are the same for all 16 images' in found.message


def test_a_layer_that_is_mostly_dead_is_a_warning(triple, images):
    mask = torch.zeros(8, 7, 7)
    mask[0, 3:5, 3:5] = 1.0
    spoiled = triple[1]
    spoiled.layer2.append(Wrapped(nn.Identity(), lambda x: (x + 1) * mask))
    found = doctor(*triple, images)["activations"]
    assert found.status == "warn"
    assert '99.0 % of the units of layer "layer2" of the student are zero for all 16 images' in found.message


def test_outputs_that_are_not_finite_are_found(triple, images):
    with torch.no_grad():
        triple[2].fc.bias[4] = math.nan
    found = doctor(*triple, images)
    assert found["finite outputs"].message.startswith(
        "The baseline gives NaN or infinite outputs for 400 of 400 images"
    )
    assert found["teacher against baseline"].status == "skipped"
    assert found["normalisation"].status == "ok"  # of the other two


def test_class_counts_that_do_not_match_are_found(triple, images):
    wide = Wrapped(triple[0], lambda logits: torch.cat([logits, logits], 1))
    found = doctor(wide, *triple[1:], images)
    assert found["class counts"].message == "The data has 10 classes, but the teacher gives 20 outputs."
    assert found["distillation gradient"].status == "skipped"
    maps = Wrapped(triple[0], lambda logits: logits[:, :, None, None])
    assert "outputs of shape (10, 1, 1) an image" in doctor(maps, *triple[1:], images)["class counts"].message


def test_a_softmax_in_the_network_is_found(triple, images):
    soft = Wrapped(triple[0], lambda logits: logits.softmax(1))
    found = doctor(soft, *triple[1:], images)["logits"]
    assert (found.status, found.message.startswith("teacher: outputs are positive")) == ("fail", True)
    assert doctor(Wrapped(triple[0], lambda z: z.log_softmax(1)), *triple[1:], images)["logits"].status == "ok"


WRONG_OPTIONS = {
    "no images": ({"images": 0}, "one image or more, not images=0"),
    "temperature": ({"temperature": 0.0}, "temperature must be positive"),
    "alpha": ({"alpha": 2.0}, r"alpha from 0 to 1, got temperature=4\.0 and alpha=2\.0"),
    "text for layers": ({"layers": "layer2"}, r'a list of names, e\.g\. \["layer2"\], not the text "layer2"'),
    "role": ({"layers": {"students": ["layer2"]}}, 'not "students"; did you mean "student"'),
    "list": ({"cached_logits": [[1.0]]}, "not a list"),
    "suffix": ({"cached_logits": "c.pkl"}, "not c.pkl"),
}


@pytest.mark.parametrize(("options", "text"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_options_that_make_no_sense_are_named(triple, images, options, text):
    with pytest.raises(ConfigError, match=text):
        doctor(*triple, images, **options)


def test_images_of_different_sizes_are_told_once(triple):
    data = [(torch.rand(1, 28, 28), 0), (torch.rand(1, 32, 32), 1)] * 10
    with pytest.raises(DataError, match="differ in size"):
        doctor(*triple, data)


def test_what_was_not_given_is_skipped(triple, images):
    found = doctor(None, triple[1], data=images)
    assert found["cached logits"].message == "Skipped: no cached logits were given."
    assert found["teacher against baseline"].message == "Skipped: no teacher was given."
    assert found["loss minimum"].status == "skipped"
    assert found["normalisation"].status == "ok"
    with pytest.raises(ConfigError, match="at least one network, and data"):
        doctor(None, None, data=images)
    with pytest.raises(ConfigError, match="at least one network, and data"):
        doctor(triple[0], triple[1])


def test_a_network_that_breaks_is_a_failed_check_and_not_the_end(triple, images):
    class Breaks(nn.Module):
        def forward(self, x):
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    found = doctor(Breaks(), *triple[1:], images)
    assert not found.ok
    assert (
        "The teacher cannot be run on the images (1 x 28 x 28): RuntimeError: mat1 and mat2"
        in found["forward pass"].message
    )
    assert found["teacher against baseline"].message == "Skipped: the teacher cannot be run on the images."
    assert found["images"].status == "ok"
    assert found["class counts"].status == "ok"  # of the other two


def test_every_student_is_looked_at_and_named(triple, images):
    teacher, student, baseline = triple
    swapped, nan, stopped = (copy.deepcopy(student) for _ in range(3))
    with torch.no_grad():
        swapped.fc.weight.copy_(swapped.fc.weight.roll(1, 0))
        swapped.fc.bias.copy_(swapped.fc.bias.roll(1, 0))
        nan.fc.bias[4] = math.nan
        stopped.layer2[1].weight.zero_()
        stopped.layer2[1].bias.fill_(-1.0)
    students = {"kd": student, "rolled": swapped, "broken": nan, "off": [stopped, student]}
    found = doctor(teacher, students, baseline, images, layers={"student": ["layer1", "fc"]})
    assert found["label order"].message.startswith("The student rolled's outputs stand in another order")
    assert found["finite outputs"].message.startswith("The student broken gives NaN")
    assert found["accuracy"].message.startswith("Not better than guessing: student rolled and student off.")
    for name in students:
        assert f"student {name}: " in found["layers"].message  # "fc" gives no map
    assert "teacher" not in found["layers"].message
    assert "for the student kd as it is" in found["distillation gradient"].message
    assert "for the student rolled as it is" in found["distillation gradient"].message
    assert '"layer2" of the student off' in doctor(teacher, students, baseline, images)["activations"].message


def test_the_fault_of_one_network_does_not_hide_that_of_another(triple, images):
    for network in triple[:2]:
        with torch.no_grad():
            network.fc.weight.copy_(network.fc.weight.roll(1, 0))
            network.fc.bias.copy_(network.fc.bias.roll(1, 0))
    told = doctor(*triple, images)["label order"].message
    assert "The teacher's outputs" in told
    assert "The student's outputs" in told
    mapped = doctor(triple[0], {"student": triple[1]}, triple[2], images)["label order"]
    assert mapped.message == told


def test_two_students_with_the_same_weights_are_found(triple, images):
    teacher, student, baseline = triple
    found = doctor(teacher, {"a": student, "b": copy.deepcopy(student)}, baseline, images)["different networks"]
    assert found.message == "The student a and the student b have the same weights."


def build_net():
    return nn.Identity()


NO_NETWORKS = {
    "state dict": (lambda net: net.state_dict(), r"the student is a state dict \(\d+ tensors\).*load_state_dict"),
    "checkpoint": (lambda net: {"epoch": 3, "model": net.state_dict()}, r"the student is a mapping \(dict\)"),
    "text": (lambda net: "student.pt", r"the text 'student.pt', .*load_model"),
    "class": (lambda net: nn.Identity, r"the class Identity, .*give an instance of it: Identity\(\.\.\.\)"),
    "function": (lambda net: build_net, "the function build_net, .*the network it makes"),
    "number": (lambda net: 3, "of type int"),
    "among students": (lambda net: {"kd": net, "at": "at.pt"}, "the student at is the text 'at.pt'"),
    "among seeds": (lambda net: ["kd.pt", net], "the student is the text 'kd.pt'"),
}


@pytest.mark.parametrize(("make", "text"), NO_NETWORKS.values(), ids=NO_NETWORKS)
def test_what_is_no_network_is_named(triple, images, make, text):
    with pytest.raises(ModelError, match=text):
        doctor(triple[0], make(triple[1]), triple[2], images)
    with pytest.raises(ModelError, match="the baseline is the text"):
        doctor(triple[0], triple[1], "baseline.pt", images)


def test_an_empty_list_of_seeds_is_named(triple, images):
    with pytest.raises(ConfigError, match="the student kd is an empty list"):
        doctor(triple[0], {"kd": []}, triple[2], images)


def test_images_with_other_channels_or_of_another_size_are_told_once(triple, images):
    x, y, _ = images.batch(torch.arange(60))
    coloured = Images(list(zip(x.expand(-1, 3, -1, -1), y.tolist(), strict=True)), classes=images.classes)
    found = doctor(*triple, coloured)
    told = found["forward pass"]
    assert told.message.startswith(
        'The teacher cannot be run on the images (3 x 28 x 28): its layer "layer1.0" takes 1 channel, but gets 3.'
    )
    assert "The student cannot be run" in told.message
    assert told.advice == "Give images with 1 channel, or a network made for 3."
    assert not any("could not be finished" in check.message for check in found)

    small = Images(list(zip(x[..., :16, :16], y.tolist(), strict=True)), classes=images.classes)
    told = doctor(*triple, small)["forward pass"]
    assert 'its layer "fc" takes 784 numbers, but gets 256' in told.message
    assert "of the size" in told.advice
    assert not any(module._forward_pre_hooks or module._forward_hooks for net in triple for module in net.modules())


@pytest.mark.parametrize(
    ("change", "text", "advice"),
    [
        (lambda net: net.double(), r'RuntimeError in layer "layer1\.0": Input type', r"\.float\(\) on the network"),
        (lambda net: net.to("meta"), "on the meta device", "Load its weights"),
        (lambda net: Wrapped(net, torch.sum), r"an output of shape \(\) for 2 images", "one row an image"),
        (lambda net: Wrapped(net, lambda z: "cat"), r": Wrapped gives no tensor\.", "Mend this first"),
    ],
)
def test_a_network_that_cannot_be_run_is_told_once(triple, images, change, text, advice):
    found = doctor(change(triple[0]), *triple[1:], images)
    assert re.search(f"^The teacher cannot be run on the images .*{text}", found["forward pass"].message)
    assert re.search(advice, found["forward pass"].advice)
    assert not any("could not be finished" in check.message for check in found)
    assert found["accuracy"].message.startswith("student ")


def test_a_single_number_an_image_is_told(triple, images):
    found = doctor(Wrapped(triple[0], lambda z: z.argmax(1)), *triple[1:], images)
    assert found["class counts"].message == "The data has 10 classes, but the teacher gives a single number an image."
    assert found["finite outputs"].status == "ok"


def test_a_check_of_a_third_party_is_made(triple, images):
    CHECKS.register("mood")(lambda patient: Check("mood", "warn", f"{patient.classes} classes."))
    try:
        assert doctor(*triple, images)["mood"].message == "10 classes."
    finally:
        del CHECKS._loaded["mood"]


def test_a_diagnosis_prints_saves_and_escapes():
    checks = [Check("a", "ok", "fine"), Check("b", "fail", "<script>bad</script>", "mend & go", 0.5)]
    found = Diagnosis(checks)
    assert [check.name for check in found] == ["b", "a"]
    assert str(found).splitlines()[0] == "kdlens doctor: 1 failed, 0 warnings, 1 fine, 0 skipped"
    assert found.alerts == ["b: <script>bad</script> mend & go"]
    assert json.loads(json.dumps(found.to_dict()))["checks"][0]["value"] == 0.5
    assert "<script>" not in found._repr_html_()
    assert "&lt;script&gt;" in found._repr_html_()
    with pytest.raises(KeyError):
        found["c"]


def test_the_verb_stays_callable_after_its_module_was_imported(triple, images):
    assert callable(kdlens.doctor)
    assert kdlens.doctor(None, triple[1], data=images)["images"].status == "ok"


def test_a_part_without_the_last_class_has_the_classes_of_the_networks(triple, images):
    part = [(images[i].image, images[i].label) for i in range(200) if images[i].label < 8]
    found = doctor(*triple, part)
    assert found["class counts"].message == "Every network gives 10 outputs, one for each class."
    told = doctor(*triple, Images(part, classes=[str(i) for i in range(8)]))
    assert told["class counts"].message.startswith("The data has 8 classes, but")
