"""`kdlens.unicam` with its joint protocol: what holds for every pair of networks."""

import copy
import warnings
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from kdlens.errors import ConfigError, DataError, UnknownNameError
from kdlens.models.load import load_model
from kdlens.questions.unicam.joint.evidence import fit_temperature
from kdlens.questions.unicam.joint.forms import FORMS, effects_of
from kdlens.questions.unicam.joint.knowledge import most_relevant
from kdlens.questions.unicam.maps import Scene, Sight, UniCAM
from kdlens.questions.unicam.unicam import unicam


@pytest.fixture
def nets(make_network):
    return make_network(1), make_network(2)


@pytest.fixture
def data(make_pictures):
    return make_pictures(65, 4, seed=3)[:2]


@pytest.fixture
def reference(make_pictures):
    return make_pictures(48, 4, seed=4)[:2]


@dataclass(frozen=True)
class Explained:
    """Two networks and their maps by one form of attribution; nobody changes them."""

    nets: tuple[nn.Module, nn.Module]
    data: tuple[torch.Tensor, torch.Tensor]
    reference: tuple[torch.Tensor, torch.Tensor]
    attribution: str
    found: UniCAM


@pytest.fixture(scope="module", params=["gradients", "occlusion"])
def explained(request, make_network, make_pictures):
    nets = make_network(1), make_network(2)
    data, reference = make_pictures(33, 4, seed=3)[:2], make_pictures(32, 4, seed=4)[:2]
    found = unicam(*nets, *data, reference=reference, attribution=request.param)
    return Explained(nets, data, reference, request.param, found)


def test_alone_or_among_32_others(explained):
    images, labels = explained.data
    whole = explained.found
    options = {"reference": explained.reference, "attribution": explained.attribution}
    alone = unicam(*explained.nets, images[:1], labels[:1], **options)
    assert not whole.depends_on_batch
    assert torch.allclose(whole.raw[:1], alone.raw, atol=1e-5)
    assert torch.allclose(whole.maps[:1], alone.maps, atol=1e-5)
    assert whole.band == pytest.approx(alone.band)


def test_one_signed_map_tells_both_stories(nets, data, reference):
    student, baseline = nets
    there = unicam(student, baseline, *data, reference=reference)
    back = unicam(baseline, student, *data, reference=reference)
    assert torch.allclose(there.raw, -back.raw, atol=1e-6)
    assert there.band.pixel == pytest.approx(back.band.pixel, rel=1e-5)
    assert there.scale == pytest.approx(back.scale, rel=1e-5)


def test_maps_are_drawn_from_the_difference_of_calibrated_effects(explained):
    found, form, (images, labels) = explained.found, FORMS[explained.attribution], explained.reference
    own, other = (
        [effect / fit_temperature(net(images), labels) for effect in effects_of(form, net, *explained.data)]
        for net in explained.nets
    )
    difference = tuple(a - b for a, b in zip(own, other, strict=True))
    for maps, effects in ((found.raw, difference), (found.own, tuple(own)), (found.other, tuple(other))):
        assert torch.allclose(maps, form.draw(effects, (16, 16)), atol=1e-6)


def test_evidence_of_both_networks_adds_up(nets, data, reference):
    found = unicam(*nets, *data, reference=reference)
    sums = [maps.sum((1, 2)) for maps in (found.raw, found.own, found.other)]
    assert torch.allclose(sums[0], sums[1] - sums[2], atol=1e-4)


def test_maps_are_positive_evidence_beyond_the_band_on_one_scale(nets, data, reference):
    found = unicam(*nets, *data, reference=reference)
    beyond = torch.where(found.raw > found.band.pixel, found.raw, 0.0)
    assert torch.allclose(found.maps, (beyond / found.scale).clamp(max=1), atol=1e-6)
    assert torch.equal(found.degenerate, found.maps.amax((1, 2)) == 0)
    assert found.band.source == "labels of other images"
    assert found.protocol == "joint"
    assert 0 <= found.confidence.min() <= found.confidence.max() <= 1


def test_networks_of_other_seeds_give_the_band(nets, data, reference, make_network):
    student, baseline = nets
    pairs = [(make_network(3), baseline), (make_network(4), baseline)]
    found = unicam(student, baseline, *data, reference=reference, null=pairs)
    assert found.band.source == "networks of other seeds"
    again = unicam(make_network(3), baseline, *reference, reference=reference, null=pairs[:1])
    assert again.in_band.float().mean() >= 0.9  # the very pair the band was read off


@pytest.mark.parametrize("change", ["the same", "a rounding away"])
def test_identical_networks_have_nothing(nets, data, reference, change):
    student = nets[0]
    twin = copy.deepcopy(student)
    if change != "the same":
        with torch.no_grad():
            twin.fc.weight.mul_(1 + 1e-7)
    with pytest.warns(UserWarning, match="R\\* is undefined: nothing is unique"):
        found = unicam(student, twin, *data, reference=reference)
    assert found.degenerate.all()
    assert found.in_band.all()
    assert found.maps.max() == 0


def test_without_a_given_network_the_map_is_the_networks_own_evidence(nets, data, reference):
    found = unicam(nets[0], None, *data, reference=reference)
    assert torch.equal(found.raw, found.own)
    assert found.other is None


def test_one_class_is_explained_against_the_others(nets, data, reference):
    images, _ = data
    zeros = torch.zeros(len(images), dtype=torch.int64)
    with pytest.warns(UserWarning, match="R\\* is undefined: all images have the same label"):
        found = unicam(*nets, images, zeros, reference=(reference[0], torch.zeros(48, dtype=torch.int64)))
    assert found.raw.abs().max() > 0


def test_networks_come_back_as_they_were(nets, data):
    student = nets[0].requires_grad_(True)
    student.train()
    before = copy.deepcopy(student.state_dict())
    unicam(*nets, *data)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in student.parameters())
    assert all(module.training for module in student.modules())


def test_other_architectures_need_no_layer(data):
    images, labels = data
    images = nn.functional.interpolate(images[:16], 32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [load_model(name, classes=4) for name in ("vit_tiny_cifar", "resnet8", "vgg8")]
    for a, b in ((nets[0], nets[1]), (nets[1], nets[2])):
        found = unicam(a, b, images, labels[:16])
        assert found.maps.shape == (16, 32, 32)
        assert found.raw.isfinite().all()


def test_the_layer_is_the_one_that_knows():
    """Of two layers, one knows the label and the other does not."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 4
    noise = torch.randn(64, 6, generator=g)
    knows = torch.cat([noise[:, :3], 2 * torch.eye(4)[labels]], 1)
    given_ = Sight(torch.randn(64, 5, generator=g))
    scenes = {"early": Scene(Sight(knows), given_, labels), "late": Scene(Sight(noise), given_, labels)}
    assert most_relevant(scenes) == "early"
    assert most_relevant(dict(reversed(scenes.items()))) == "early"


def test_bad_input(nets, data):
    images, labels = data
    with pytest.raises(DataError, match=r'class indices .*protocol="published"'):
        unicam(*nets, images, torch.eye(4)[labels])
    with pytest.raises(DataError, match="a network has 4 logits"):
        unicam(*nets, images, labels + 3)
    with pytest.raises(ConfigError, match="attribution must be"):
        unicam(*nets, images, labels, attribution="shap")
    with pytest.raises(UnknownNameError, match='did you mean "joint"'):
        unicam(*nets, images, labels, protocol="jiont")


def test_few_images_warn_but_work(nets, data):
    images, labels = data
    with pytest.warns(UserWarning, match="on 6 images is mostly noise"):
        assert unicam(*nets, images[:6], labels[:6]).raw.isfinite().all()


def test_no_warning_on_healthy_input(nets, data, reference):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unicam(*nets, *data, reference=reference)
