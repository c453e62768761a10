"""Virtual attention: the worked example, equal forms, and coming and going without a trace."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import kdlens
from kdlens.errors import ConfigError, LayerNotFoundError, ModelError
from kdlens.nn import VAM, VAMConv2d, VAMLinear, attention_entropy, attention_parameters, insert_vam, parameter_groups


def example(rescale=False, temperature=1.0):
    """The 1x1 convolution of the worked example."""
    layer = nn.Conv2d(4, 2, 1, bias=False).double()
    layer.weight.data.copy_(torch.tensor([[1.0, 2, 3, 4], [-1, 0, 1, 2]]).view(2, 4, 1, 1))
    network = nn.Sequential(layer)
    insert_vam(network, ["0"], blocks=2, rescale=rescale, temperature=temperature)
    layer.vam_logits.data[0, 0] = torch.tensor(3.0).double().log()
    return network


X = torch.tensor([1.0, 1, 2, 2], dtype=torch.float64).view(1, 4, 1, 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [5.75, 2.5]), ({"rescale": True}, [11.5, 5.0]), ({"temperature": 0.5}, [4.1, 2.5])],
)
def test_the_worked_example(options, expected):
    assert example(**options)(X).flatten().tolist() == pytest.approx(expected)


def random_network(groups=1, linear=False, seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=groups), nn.Flatten()]
    if linear:
        layers.append(nn.Linear(16 * 16, 8))
    return nn.Sequential(*layers).double()


def shaken(network, **options):
    """With attention whose logits were moved."""
    vam = insert_vam(network, **options)
    for parameter in vam.parameters():
        nn.init.normal_(parameter)
    return vam


IMAGES = torch.randn(2, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["resnet8", "wrn_10_1", "vgg8", "mobilenetv2", "shufflenetv2", "cnn8", "hme_resnet8"])
@pytest.mark.parametrize("blocks", [1, 2])
def test_zero_logits_change_nothing_bit_by_bit(name, blocks):
    network = kdlens.load_model(f"zoo:{name}", classes=4)
    images = torch.randn(2, 3, 32, 32)
    before, state = network(images), copy.deepcopy(network.state_dict())
    vam = insert_vam(network, blocks=blocks)
    assert vam.layers
    assert torch.equal(network(images), before)
    assert {name for name in network.state_dict() if name not in state} == {f"{n}.vam_logits" for n in vam.layers}
    vam.remove()
    assert list(network.state_dict()) == list(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert VAM(network).layers == ()


@pytest.mark.parametrize("blocks", [3, 5, 6, 7, 49])
def test_any_number_of_blocks_is_exact_at_zero(blocks):
    network = nn.Sequential(nn.Conv2d(blocks, blocks, 1))
    x = torch.randn(1, blocks, 2, 2)
    before = network(x)
    insert_vam(network, ["0"], blocks=blocks)
    assert torch.equal(network(x), before)


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2]), st.sampled_from([1, 2, 4]), st.integers(0, 99))
def test_folding_keeps_the_output(inputs, groups, outputs, seed):
    network = random_network(groups, linear=True, seed=seed)
    vam = shaken(network, where=["2"], blocks=(inputs, outputs), heads=True)
    before = network(IMAGES)
    vam.fold()
    assert type(network[2]) is nn.Conv2d
    assert type(network[4]) is nn.Linear
    torch.testing.assert_close(network(IMAGES), before, atol=1e-12, rtol=1e-12)
    assert not any("vam" in name for name in network.state_dict())


def test_masked_weights_scaled_inputs_and_one_grouped_convolution_are_the_same():
    network = random_network()
    shaken(network, where=["2"], blocks=(4, 2))
    layer, x = network[2], network[:2](IMAGES)
    factors = 4 * layer.attention()
    scaled = [x * factors[j].repeat_interleave(2)[None, :, None, None] for j in range(2)]
    halves = [F.conv2d(scaled[j], layer.weight[8 * j : 8 * j + 8], layer.bias[8 * j : 8 * j + 8]) for j in range(2)]
    torch.testing.assert_close(layer(x), torch.cat(halves, dim=1))
    grouped = F.conv2d(torch.cat(scaled, dim=1), layer.weight, layer.bias, groups=2)
    torch.testing.assert_close(layer(x), grouped)


def test_attention_on_one_group_each_is_a_block_diagonal_convolution():
    network = random_network()
    insert_vam(network, ["2"], blocks=2, rescale=False)
    layer, x = network[2], network[:2](IMAGES)
    layer.vam_logits.data.copy_(torch.tensor([[500.0, 0.0], [0.0, 500.0]]))
    diagonal = torch.cat([layer.weight[:8, :4], layer.weight[8:, 4:]])
    torch.testing.assert_close(layer(x), F.conv2d(x, diagonal, layer.bias, groups=2))


def test_the_groups_of_a_grouped_convolution_have_rows_of_their_own():
    network = random_network(groups=2)
    vam = insert_vam(network, blocks=(2, 4))
    assert vam.attention()["2"].shape == (8, 2)
    network[2].vam_logits.data[:4, 0] = 500.0  # the first group looks at its first half only
    x = network[:2](IMAGES)
    before, changed = network[2](x), x.clone()
    changed[:, 2:4] += 1.0
    moved = (network[2](changed) - before).abs().amax(dim=(0, 2, 3))
    assert moved[:8].max() < 1e-12
    changed[:, 4:] += 1.0
    assert ((network[2](changed) - before).abs().amax(dim=(0, 2, 3))[8:] > 1e-6).all()


@pytest.mark.parametrize(
    ("name", "parameters", "extra"),
    [("resnet20", 278_324, 288), ("wrn_16_2", 703_284, 192), ("wrn_40_1", 569_780, 576), ("vgg8", None, 64)],
)
def test_extra_parameters(name, parameters, extra):
    network = kdlens.load_model(f"zoo:{name}", classes=100)
    before = sum(p.numel() for p in network.parameters())
    vam = insert_vam(network)
    assert parameters in (None, before)
    assert sum(p.numel() for p in network.parameters()) - before == extra == sum(p.numel() for p in vam.parameters())


def test_entropy_reaches_the_logits_alone():
    network = random_network()
    vam = shaken(network)
    vam.entropy().backward()
    assert network[2].vam_logits.grad.abs().sum() > 0
    assert all(p.grad is None for name, p in network.named_parameters() if not name.endswith("vam_logits"))
    torch.testing.assert_close(vam.entropy(), attention_entropy(network))


def test_rows_sum_to_one():
    vam = shaken(random_network())
    rows = vam.attention()["2"]
    assert rows.sum(dim=1).tolist() == pytest.approx([1.0] * 4)


def test_the_layer_stays_the_same_object_with_its_hooks():
    network, seen = random_network(), []
    layer = network[2]
    layer.register_forward_hook(lambda *_: seen.append(1))
    vam = insert_vam(network)
    assert network[2] is layer
    assert isinstance(layer, VAMConv2d)
    network(IMAGES)
    vam.fold()
    network(IMAGES)
    assert seen == [1, 1]


def test_a_copy_has_attention_of_its_own():
    network = random_network()
    shaken(network)
    other = copy.deepcopy(network)
    VAM(other).fold()
    assert VAM(network).layers == ("2",)
    torch.testing.assert_close(other(IMAGES), network(IMAGES))


def test_weights_come_back_into_a_network_with_attention():
    network, other = random_network(seed=1), random_network(seed=2)
    shaken(network)
    insert_vam(other)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(IMAGES), network(IMAGES))


def test_huge_logits_stay_finite_with_their_gradients():
    network = random_network().float()
    vam = insert_vam(network)
    vam.parameters()[0].data.copy_(torch.tensor([[1000.0, -1000.0, 0.0, 0.0]]).expand(4, 4))
    (network(IMAGES.float()).square().sum() + vam.entropy()).backward()
    assert torch.isfinite(vam.parameters()[0].grad).all()


def test_by_default_the_first_convolution_shortcuts_and_depthwise_ones_stay_plain():
    resnet = kdlens.load_model("zoo:resnet8", classes=4)
    layers = insert_vam(resnet).layers
    assert layers == tuple(f"layer{i}.0.conv{j}" for i in (1, 2, 3) for j in (1, 2))
    everything = insert_vam(kdlens.load_model("zoo:resnet8", classes=4), where="all").layers
    assert set(everything) - set(layers) == {"layer2.0.downsample.0", "layer3.0.downsample.0"}
    mobile = kdlens.load_model("zoo:mobilenetv2", classes=4)
    assert all(mobile.get_submodule(name).kernel_size == (1, 1) for name in insert_vam(mobile, blocks=2).layers)


def test_layers_by_name_and_by_function():
    network = random_network(linear=True)
    vam = insert_vam(network, where=lambda name, module: isinstance(module, nn.Linear), blocks=4)
    assert vam.layers == ("4",)
    assert isinstance(network[4], VAMLinear)


def test_channels_of_a_block():
    vam = insert_vam(random_network(), block_size=(2, 8))
    assert vam.attention()["2"].shape == (2, 4)


def test_logits_in_a_group_of_their_own_without_decay():
    network = random_network()
    insert_vam(network)
    rest, logits = parameter_groups(network, attention_lr=0.1)
    assert logits == {"params": attention_parameters(network), "lr": 0.1, "weight_decay": 0.0}
    assert len(rest["params"]) == 4


def test_temperature():
    vam = shaken(random_network(), temperature=2.0)
    warm = vam.entropy()
    vam.set_temperature(0.5)
    assert vam.entropy() < warm
    with pytest.raises(ConfigError, match="positive"):
        vam.set_temperature(0)


class Special(nn.Conv2d):
    """Computes in a way of its own, for all one knows."""


def refused(error, text, network, *args, **options):
    state = copy.deepcopy(network.state_dict())
    with pytest.raises(error, match=text):
        insert_vam(network, *args, **options)
    assert VAM(network).layers == ()
    assert list(network.state_dict()) == list(state)


def test_what_cannot_be_given_attention_is_named_and_nothing_is_changed():
    two = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 6, 3)]
    refused(ConfigError, 'the 6 output channels of "2" cannot be divided into 4 blocks', nn.Sequential(*two))
    refused(ConfigError, 'input channels of "0".*blocks of 2', nn.Sequential(*two), ["0"], block_size=2)
    refused(ModelError, '"1" is depthwise', nn.Sequential(two[0], nn.Conv2d(8, 8, 3, groups=8)), ["1"])
    refused(ModelError, "no torch.nn.Conv2d", nn.Sequential(nn.Linear(3, 2)))
    refused(ModelError, "only convolutions are its first", nn.Sequential(nn.Conv2d(3, 8, 3)))
    refused(ModelError, "is a Special", nn.Sequential(Special(4, 4, 3)), ["0"])
    refused(LayerNotFoundError, 'did you mean "1"', nn.Sequential(*two), ["11"])
    refused(ModelError, "has no torch.nn.Linear", nn.Sequential(*two[:2]), heads=True)
    refused(ConfigError, "where is", nn.Sequential(*two), "some")
    refused(ModelError, "no layer", nn.Sequential(*two), [])
    refused(ConfigError, "positive whole number", nn.Sequential(*two), blocks=0)
    refused(ConfigError, "positive", nn.Sequential(*two), temperature=0.0)


def test_a_layer_used_twice_is_named():
    shared = nn.Conv2d(8, 8, 3)
    refused(ModelError, '"1" shares its weight with "2"', nn.Sequential(nn.Conv2d(3, 8, 3), shared, shared))
    tied = nn.Conv2d(8, 8, 3)
    tied.weight = shared.weight
    refused(ModelError, '"1" shares its weight with "2"', nn.Sequential(nn.Conv2d(3, 8, 3), shared, tied))


def test_attention_twice():
    network = random_network()
    insert_vam(network)
    with pytest.raises(ModelError, match='already, in "2"'):
        insert_vam(network)


def test_no_attention_has_no_entropy():
    with pytest.raises(ModelError, match="insert it first"):
        VAM(random_network()).entropy()
    with pytest.raises(ModelError, match="no attention"):
        attention_entropy(random_network())
