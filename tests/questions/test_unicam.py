"""Published UniCAM on networks: alone or in company, earlier layers, tokens, bad input, and the network untouched."""

import copy
import functools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdlens.errors import (
    ConfigError,
    DataError,
    LayerNotFoundError,
    LayerShapeError,
    StatisticsError,
    UnknownNameError,
)
from kdlens.questions.unicam.maps import Scene, Sight, unicam_from_activations
from kdlens.questions.unicam.unicam import unicam as unicam_of_any_protocol
from kdlens.questions.unicam.unicam import unicam_layers
from kdlens.stats.distance import semipartial_distance_correlation

unicam = functools.partial(unicam_of_any_protocol, protocol="published")


@pytest.fixture
def nets(make_network):
    return make_network(1), make_network(2)


@pytest.fixture
def data(make_pictures):
    images, labels, _ = make_pictures(65, 4, seed=3)
    return images, labels


@pytest.fixture
def reference(make_pictures):
    images, labels, _ = make_pictures(48, 4, seed=4)
    return images, labels


def test_same_as_from_activations(nets, data):
    student, baseline = nets
    images, labels = data
    result = unicam(student, baseline, images, labels)
    with torch.no_grad():
        a, b = student[:3](images), baseline[:3](images)
    expected = unicam_from_activations(Scene(Sight(a), Sight(b), labels), size=(16, 16))
    assert result.layer == "layer3"
    assert result.given_layer == "layer3"
    assert torch.allclose(result.maps, expected.maps, atol=1e-5)
    assert result.maps.shape == (65, 16, 16)
    assert result.raw.min() < 0 < result.raw.max()
    assert result.depends_on_batch


@pytest.mark.parametrize("features", ["pooled", "flat"])
@pytest.mark.parametrize("feature_layer", [None, "layer3"])
def test_alone_or_among_64_others(nets, data, reference, features, feature_layer):
    """With a comparison set an image's map is its own."""
    images, labels = data
    options = {"layer": "layer2", "reference": reference, "features": features, "feature_layer": feature_layer}
    together = unicam(*nets, images, labels, **options)
    alone = unicam(*nets, images[30:31], labels[30:31], **options)
    assert not together.depends_on_batch
    assert together.maps[30].max() > 0.5
    assert (together.maps[30] - alone.maps[0]).abs().max() < 1e-5
    assert together.relevance == alone.relevance


@pytest.mark.parametrize("feature_layer", [None, "layer3"])
@pytest.mark.parametrize("reference_too", [False, True])
def test_portions_do_not_change_the_result(nets, data, reference, feature_layer, reference_too):
    options = {"layer": "layer2", "feature_layer": feature_layer, "reference": reference if reference_too else None}
    whole = unicam(*nets, *data, **options)
    parts = unicam(*nets, *data, **options, batch_size=7)
    assert (whole.maps - parts.maps).abs().max() < 1e-4
    assert parts.relevance == pytest.approx(whole.relevance, abs=1e-6)


@pytest.mark.parametrize("features", ["pooled", "flat"])
@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3"])
def test_features_of_a_later_layer(nets, data, features, layer):
    """The gradient of the last layer's statistic, taken back to an earlier one: the first release's layer-wise maps."""
    student, baseline = (net.double() for net in nets)
    images, labels = data[0].double(), data[1]
    result = unicam(student, baseline, images, labels, layer=layer, feature_layer="layer3", features=features)
    early = student[: int(layer[-1])](images).requires_grad_()
    late, given = student[int(layer[-1]) : 3](early), baseline[:3](images)
    if features == "pooled":
        late, given = late.mean((2, 3)), given.mean((2, 3))
    one_hot = F.one_hot(labels).double()
    value = semipartial_distance_correlation(late.flatten(1), one_hot, given.flatten(1))
    beta = torch.autograd.grad(value, early)[0].mean((2, 3), keepdim=True)
    expected = F.interpolate((beta * early).sum(1)[:, None], size=(16, 16), mode="bilinear")[:, 0]
    assert result.relevance == pytest.approx(value.item(), abs=1e-10)
    assert torch.allclose(result.raw, expected.detach(), atol=1e-10)
    assert result.layer == layer
    assert result.given_layer == "layer3"


def test_all_layers_and_directions_from_one_pass_each(nets, data, reference):
    passes = dict.fromkeys(nets, 0)
    for net in nets:
        net.register_forward_pre_hook(
            lambda module, inputs: passes.__setitem__(module, passes[module] + len(inputs[0]))
        )
    layers = ("layer1", "layer2", "layer3")
    found = unicam_layers(*nets, *data, layers=layers, reference=reference)
    assert set(passes.values()) == {65 + 48}
    for name in layers:
        distilled = unicam(*nets, *data, layer=name, reference=reference)
        residual = unicam(*reversed(nets), *data, layer=name, reference=reference)
        assert torch.allclose(found[name].distilled.maps, distilled.maps, atol=1e-6)
        assert torch.allclose(found[name].residual.maps, residual.maps, atol=1e-6)
        assert found[name].residual.layer == name


def test_layers_of_other_names(nets, data):
    found = unicam_layers(*nets, *data, layers={"layer3": "layer2"})
    assert (found["layer3"].distilled.given_layer, found["layer3"].residual.layer) == ("layer2", "layer2")
    assert list(unicam_layers(*nets, *data)) == ["layer1", "layer2", "layer3"]


def test_other_architecture_as_given(nets, data):
    other = nn.Sequential(nn.Conv2d(3, 5, 3, 2), nn.ReLU(), nn.Conv2d(5, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    result = unicam(nets[0], other, *data)
    assert result.given_layer == "2"
    assert unicam(nets[0], other, *data, given_layer="1").given_layer == "1"


def test_nothing_given(nets, data):
    result = unicam(nets[0], None, *data)
    assert result.unique_fraction == 1
    assert result.given_layer == ""
    assert unicam(nets[0], None, *data, layer="layer1", feature_layer="layer3").raw.abs().max() > 0


def test_embeddings_matter_beyond_two_classes(nets, data):
    images, labels = data
    table = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    by_index, by_table = (unicam(*nets, images, y).relevance for y in (labels, table[labels]))
    assert by_index != pytest.approx(by_table, abs=1e-4)
    pair = labels % 2
    by_index, by_table = (unicam(*nets, images, y).relevance for y in (pair, table[pair]))
    assert by_index == pytest.approx(by_table, abs=1e-6)


class Cues(nn.Module):
    """Sees some of the colours, as they are."""

    def __init__(self, *channels):
        super().__init__()
        self.eye = nn.Conv2d(3, len(channels), 1, bias=False)
        with torch.no_grad():
            self.eye.weight.copy_(torch.eye(3)[list(channels), :, None, None])

    def forward(self, x):
        return self.eye(x).mean((2, 3))


def test_relevance_knows_which_network_sees_more():
    """Red at the left tells one bit of the class, green at the right the other.

    Of maps only the case without a shared cue is asked: the published gradient runs through one network, so with a
    shared cue it does not tell whose evidence is whose.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(128) % 4
    images = 0.2 * torch.rand(128, 3, 8, 8, generator=generator)
    images[:, 0, :, :4] += (labels % 2)[:, None, None] + 0.3 * torch.rand(128, 8, 4, generator=generator)
    images[:, 1, :, 4:] += (labels // 2)[:, None, None] + 0.3 * torch.rand(128, 8, 4, generator=generator)
    red, green, both = Cues(0), Cues(1), Cues(0, 1)
    assert unicam(both, green, images, labels).relevance > 0.6
    assert unicam(green, both, images, labels).relevance < 0.1
    assert unicam(both, Cues(2), images, labels).relevance == pytest.approx(
        unicam(both, None, images, labels).relevance, abs=0.02
    )
    for only, other, on_the_left in ((red, green, True), (green, red, False)):
        positive = unicam(only, other, images, labels).raw.clamp(min=0).sum(0)
        share = (positive[:, :4].sum() / positive.sum()).item()
        assert share > 0.8 if on_the_left else share < 0.2


def test_networks_come_back_as_they_were(nets, data):
    for net in nets:
        net.train().requires_grad_()
        net.layer1[1].eval()
    before = [copy.deepcopy(net.state_dict()) for net in nets]
    modes = [[module.training for module in net.modules()] for net in nets]
    random_state = torch.random.get_rng_state()
    unicam(*nets, *data, layer="layer1", feature_layer="layer3")
    for net, state, mode in zip(nets, before, modes, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
        assert [module.training for module in net.modules()] == mode
        assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())
        assert not any(module._forward_hooks for module in net.modules())
    assert torch.equal(random_state, torch.random.get_rng_state())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto"])
def test_other_families(name):
    timm = pytest.importorskip("timm")
    size = {"img_size": 64} if "convnext" not in name else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [timm.create_model(name, num_classes=3, depths=(1, 1, 1, 1), **size) for _ in range(2)] if (
            "vit" not in name
        ) else [timm.create_model(name, num_classes=3, depth=2, **size) for _ in range(2)]  # fmt: skip
        images = torch.randn(8, 3, 64, 64)
    result = unicam(*nets, images, torch.arange(8) % 3)
    assert result.maps.shape == (8, 64, 64)
    assert torch.tensor(result.relevance).isfinite()
    assert not bool(result.degenerate.all())


@pytest.mark.parametrize("with_reference", [False, True])
def test_identical_networks(nets, data, reference, with_reference):
    student = nets[0]
    with pytest.warns(UserWarning, match="UniCAM is undefined, all maps are zero: nothing is unique"):
        result = unicam(student, copy.deepcopy(student), *data, reference=reference if with_reference else None)
    assert bool(result.degenerate.all())
    assert result.maps.max() == 0
    assert result.unique_fraction == 0


def test_one_class(nets, data):
    with pytest.warns(UserWarning, match="all images have the same label"):
        result = unicam(*nets, data[0], torch.zeros_like(data[1]))
    assert bool(result.degenerate.all())


def test_few_images(nets, data):
    images, labels = data
    with pytest.warns(UserWarning, match="UniCAM on 5 images is mostly noise; compare at least 8, better 128; give a"):
        unicam(*nets, images[:5], labels[:5])
    with pytest.raises(StatisticsError, match=r"at least 4 images, got 1; give a comparison set with reference="):
        unicam(*nets, images[:1], labels[:1])
    with pytest.raises(StatisticsError, match=r"compares at least 4 images, got 3$"):
        unicam(*nets, images, labels, reference=(images[:3], labels[:3]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unicam(*nets, images[:8], labels[:8])


def test_an_unknown_protocol(nets, data):
    with pytest.raises(UnknownNameError, match='unknown protocol "publishd"; did you mean "published"'):
        unicam(*nets, *data, protocol="publishd")


def test_bad_input(nets, data):
    images, labels = data
    with pytest.raises(LayerNotFoundError, match='layer "layer5" not found in Sequential; did you mean'):
        unicam(*nets, images, labels, layer="layer5")
    for options in ({}, {"feature_layer": "layer3"}):
        with pytest.raises(LayerShapeError, match='layer "fc"'):
            unicam(*nets, images, labels, layer="fc", **options)
    with pytest.raises(
        DataError, match=r"images must be a batch \(n, C, H, W\) with at least one image, got \(3, 16, 16\)"
    ):
        unicam(*nets, images[0], labels[:1])
    with pytest.raises(DataError, match="images: 65 images but 3 labels"):
        unicam(*nets, images, labels[:3])
    with pytest.raises(DataError, match="reference: 65 images but 3 labels"):
        unicam(*nets, images, labels, reference=(images, labels[:3]))
    with pytest.raises(DataError, match="same kind"):
        unicam(*nets, images, labels, reference=(images, torch.eye(4)[labels]))
    with pytest.raises(ConfigError, match='must be "pooled" or "flat"'):
        unicam(*nets, images, labels, features="mean")
    bad = images.clone()
    bad[7] = torch.nan
    with pytest.raises(StatisticsError, match="NaN or infinite values in 1 of 65 rows"):
        unicam(*nets, bad, labels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_equals_cpu(nets, data, reference):
    on_cpu = unicam(*nets, *data, reference=reference)
    on_gpu = unicam(*(net.cuda() for net in nets), *data, reference=reference)
    assert (on_cpu.maps - on_gpu.maps.cpu()).abs().max() < 1e-3
