"""A network comes back byte for byte as it was: every network x kind of layer x way of ending x kind of pass."""

import pytest
import torch
from torch import nn

from kdlens.errors import LayerNotFoundError, LayerShapeError, ModelError
from kdlens.models.layers import auto_layers, describe, last_spatial_layer
from kdlens.models.state import undisturbed
from kdlens.models.taps import Recorder, record, unwrap

LAYERS = {
    "awkward": ["conv1", "bn1", "relu#1", "pair", "named", "drop", "fc", "unused", "shape"],
    "data parallel": ["conv1", "relu#0", "pair"],
    "noisy": ["conv"],
    "transformer": ["1", "2.layers.1.linear1", "2"],
    "resnet8": ["conv1", "layer2", "layer3.0.bn2", "fc"],
    "wrn_10_1": ["layer1.0", "bn1"],
    "vit_tiny_cifar": ["patch_embed", "blocks.0.attn.qkv", "norm"],
    "mobilenetv2": ["stem", "layer2.0.conv.1.0", "head"],
}
TABLE = [(name, layer) for name, layers in LAYERS.items() for layer in layers]
UNREADABLE = {"unused", "shape"}
IMAGES = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


class StopHere(Exception):  # noqa: N818
    pass


@pytest.fixture(params=TABLE, ids=lambda case: "-".join(case))
def case(request, build):
    return build(request.param[0]), request.param[1]


@pytest.mark.parametrize("gradients", [False, True])
def test_after_a_pass(case, gradients, picture):
    network, layer = case
    before = picture(network)
    with Recorder(network, [layer], gradients=gradients) as recorder:
        assert not any(module.training for module in network.modules())
        score = network(IMAGES)[:, 0].sum()
    if gradients and layer not in UNREADABLE:
        torch.autograd.grad(score, recorder[layer])
    assert picture(network) == before


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("error", [StopHere, KeyboardInterrupt])
def test_after_an_error_in_the_network(case, gradients, error, picture, build):
    network, layer = case
    trip = build.trip()
    trip.error = error()
    network = nn.Sequential(unwrap(network), trip)
    before = picture(network)
    with pytest.raises(error), Recorder(network, [f"0.{layer}"], gradients=gradients):
        network(IMAGES)
    assert picture(network) == before


@pytest.mark.parametrize("error", [StopHere, KeyboardInterrupt])
def test_after_an_error_inside_the_layer(awkward, error, picture):
    def fail(*_):
        raise error

    handle = awkward.bn1.register_forward_hook(fail)
    before = picture(awkward)
    with pytest.raises(error):
        record(awkward, IMAGES, ["bn1", "conv2"])
    assert picture(awkward) == before
    handle.remove()


@pytest.mark.parametrize("gradients", [False, True])
def test_after_an_error_in_the_callers_block(case, gradients, picture):
    network, layer = case
    before = picture(network)
    with pytest.raises(KeyboardInterrupt), Recorder(network, [layer], gradients=gradients):  # noqa: PT012
        network(IMAGES)
        raise KeyboardInterrupt
    assert picture(network) == before


@pytest.mark.parametrize("wrong", ["layer9", "", "conv1.", "relu#x", "fc#1.x"])
@pytest.mark.parametrize("gradients", [False, True])
def test_after_a_wrong_layer(case, wrong, gradients, picture):
    network, layer = case
    before = picture(network)
    with pytest.raises(LayerNotFoundError), Recorder(network, [layer, wrong], gradients=gradients):
        pytest.fail("a wrong layer must be refused at once")
    assert picture(network) == before


@pytest.mark.parametrize("look", [auto_layers, describe, last_spatial_layer])
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "transformer"])
def test_after_looking_around(name, look, build, picture):
    network = build(name)
    before = picture(network)
    look(network, IMAGES[:1])
    assert picture(network) == before


def test_after_an_error_while_looking_around(awkward, picture):
    before = picture(awkward)
    with pytest.raises(RuntimeError):
        describe(awkward, torch.zeros(1, 7, 16, 16))
    assert picture(awkward) == before


@pytest.mark.parametrize("outer", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_the_callers_grad_mode_comes_back(awkward, outer, picture):
    with outer():
        before = picture(awkward)
        with Recorder(awkward, ["conv1"], gradients=True):
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
        with Recorder(awkward, ["conv1"]):
            assert not torch.is_grad_enabled()
        assert picture(awkward) == before


def test_a_network_built_under_inference_mode_is_explained_and_left_alone(picture):
    with torch.inference_mode():
        network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    before = picture(network)
    record(network, torch.ones(1, 2), ["0"])
    with pytest.raises(ModelError, match=r'parameter "0.weight" of Sequential was made under torch.inference_mode'):
        Recorder(network, ["0"], gradients=True).__enter__()
    assert picture(network) == before


def test_the_block_can_be_nested_and_used_twice(awkward, picture):
    before = picture(awkward)
    with Recorder(awkward, ["conv1"]) as outer, Recorder(awkward, ["conv1"], gradients=True) as inner:
        awkward(IMAGES)
    assert torch.equal(outer["conv1"], inner["conv1"])
    assert picture(awkward) == before
    with outer:
        awkward(IMAGES + 1)
    assert not torch.equal(outer["conv1"], inner["conv1"])
    assert picture(awkward) == before


def test_train_and_eval_of_the_classes_are_not_called():
    class Merging(nn.Linear):  # adapters that merge their weights in `train(False)`
        def train(self, mode=True):
            raise AssertionError("must not be called")

    record(nn.Sequential(nn.Linear(2, 2), Merging(2, 2)), torch.ones(1, 2), ["0"])


def test_undisturbed_restores_what_it_changed_when_it_cannot_begin(picture):
    network = nn.Sequential(nn.Linear(2, 2)).train()
    with torch.inference_mode():
        network.append(nn.Linear(2, 2))
    before = picture(network)
    with pytest.raises(ModelError), undisturbed(network, gradients=True):
        pytest.fail("must not begin")
    assert picture(network) == before


def test_reading_does_not_disturb_either(awkward, picture):
    before = picture(awkward)
    with Recorder(awkward, ["relu", "unused"]) as recorder:
        awkward(IMAGES)
    for layer in recorder:
        with pytest.raises(LayerShapeError):
            recorder[layer]
    assert picture(awkward) == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_random_states_of_a_gpu_come_back():
    class AlwaysDropping(nn.Linear):
        def forward(self, x):
            return nn.functional.dropout(super().forward(x), training=True)

    network = nn.Sequential(AlwaysDropping(8, 8)).cuda()
    before = torch.cuda.get_rng_state()
    _, found = record(network, torch.ones(4, 8, device="cuda"), ["0"])
    assert found["0"].is_cuda
    assert torch.equal(torch.cuda.get_rng_state(), before)
