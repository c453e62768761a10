"""Every network of the zoo goes through one test; sizes are those of the literature."""

import subprocess
import sys

import pytest
import torch

from kdlens.errors import ModelError, UnknownNameError
from kdlens.models.layers import auto_layers, describe
from kdlens.models.load import load_model
from kdlens.models.taps import record
from kdlens.models.tokens import to_feature_map
from kdlens.models.zoo import ZOO

HEAVY = {"vgg16", "vgg19", "resnet32x4", "resnet110"}

MILLIONS = {  # of parameters, for 100 classes, as the distillation literature prints them
    "resnet8": 0.08,
    "resnet14": 0.18,
    "resnet20": 0.28,
    "resnet32": 0.47,
    "resnet44": 0.67,
    "resnet56": 0.86,
    "resnet110": 1.74,
    "resnet8x4": 1.23,
    "resnet32x4": 7.43,
    "wrn_16_1": 0.18,
    "wrn_16_2": 0.70,
    "wrn_28_2": 1.48,
    "wrn_40_1": 0.57,
    "wrn_40_2": 2.26,
    "wrn_28_10": 36.54,
    "vgg8": 3.97,
    "vgg11": 9.28,
    "vgg13": 9.46,
    "vgg16": 14.77,
    "vgg19": 20.09,
    "mobilenetv2": 0.81,
    "shufflenetv1": 0.95,
    "shufflenetv2": 1.36,
}


def size_of(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("name", "millions"), MILLIONS.items())
def test_sizes_are_those_of_the_literature(name, millions):
    with torch.device("meta"):  # shapes without memory
        network = ZOO[name](num_classes=100)
    assert size_of(network) / 1e6 == pytest.approx(millions, abs=0.0101)


def test_sizes_of_the_small_ones():
    assert size_of(ZOO["cnn32"](num_classes=10, in_channels=1)) == pytest.approx(94_000, rel=0.01)
    assert size_of(ZOO["cnn8"](num_classes=10, in_channels=1)) < 7_000
    assert size_of(ZOO["smoothcnn8"]()) == size_of(ZOO["cnn8"]())
    assert set(ZOO.names()) == {*MILLIONS, "cnn8", "cnn16", "cnn32", "ltb", "smoothcnn8", "vit_tiny_cifar"}


@pytest.mark.parametrize(("name", "smooth"), [("smoothcnn8", True), ("smoothcnn16", True), ("cnn8", False)])
def test_only_the_smooth_ones_have_no_kinks(name, smooth):
    """Half the way changes a smooth network's gradient half as much; across kinks it jumps by far more than that."""
    torch.manual_seed(0)
    network = ZOO[name]().double().eval()
    image, way = torch.randn(2, 1, 3, 32, 32, dtype=torch.float64)

    def gradient(far):
        there = (image + far * way).requires_grad_()
        return torch.autograd.grad(network(there).square().sum(), there)[0]

    start = gradient(0)
    whole, half = ((gradient(far) - start).norm() for far in (1e-3, 5e-4))
    assert (abs(half / whole - 0.5) < 0.01) == smooth


@pytest.mark.parametrize("name", [name for name in ZOO.names() if name != "wrn_28_10"])
def test_every_network(name):
    size = (16, 16) if name in HEAVY else (19, 23)
    images = torch.linspace(-1, 1, 2 * 2 * size[0] * size[1]).reshape(2, 2, *size)
    network = ZOO[name](num_classes=7, in_channels=2).train()
    logits = network(images)
    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())

    layers = auto_layers(network, images[:1])
    output, found = record(network, images, layers)
    assert 2 <= len(layers) <= 4
    for layer in layers:
        maps = to_feature_map(found[layer], batch=2, input_size=size, model=network, layer=layer)
        assert maps.shape[0] == 2
        assert maps.shape[2] * maps.shape[3] > 1

    twin = ZOO[name](num_classes=7, in_channels=2).eval()
    twin.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.allclose(twin(images), output, atol=1e-6)


def test_the_largest_network_in_shapes_alone():
    with torch.device("meta"):
        assert ZOO["wrn_28_10"](num_classes=7, in_channels=2)(torch.zeros(2, 2, 19, 23)).shape == (2, 7)


@pytest.mark.parametrize(
    "name", ["cnn8", "smoothcnn8", "resnet8", "wrn_16_1", "vgg8", "mobilenetv2", "shufflenetv1", "shufflenetv2"]
)
def test_every_layer_of_every_network_is_called(name):
    rows = describe(ZOO[name](), torch.zeros(1, 3, 32, 32))
    assert [row.name for row in rows if row.params and not row.calls] == []


@pytest.mark.parametrize("size", [(16, 16), (33, 33), (40, 24)])
@pytest.mark.parametrize("name", ["cnn8", "smoothcnn8", "resnet8", "wrn_10_1", "vgg8", "mobilenetv2", "vit_tiny_cifar"])
def test_images_of_any_size(name, size):
    assert load_model(name)(torch.zeros(1, 3, *size)).shape == (1, 10)


@pytest.mark.parametrize(
    ("name", "stage"), [("wrn_10_1", 64), ("wrn_22_4", 256), ("cnn12", 48), ("smoothcnn12", 48), ("wrn_16_8", 512)]
)
def test_families_have_more_members_than_are_listed(name, stage):
    assert name in ZOO
    with torch.device("meta"):
        network = ZOO[name](num_classes=3, in_channels=1)
    assert network.fc.in_features == stage
    assert network.fc.out_features == 3


@pytest.mark.parametrize(
    "name", ["wrn_17_2", "wrn_4_2", "wrn_16_0", "cnn0", "cnn", "wrn_16", "resnet21", "xcnn8", "smoothcnn0"]
)
def test_invalid_members_are_unknown(name):
    assert name not in ZOO
    with pytest.raises(UnknownNameError, match=f'unknown network "{name}"'):
        ZOO[name]


@pytest.mark.parametrize(("name", "depth", "rule"), [("resnet", 9, "6 n [+] 2"), ("wrn", 17, "6 n [+] 4")])
def test_impossible_depths_are_refused(name, depth, rule):
    from kdlens.models.zoo.resnet import CifarResNet
    from kdlens.models.zoo.wrn import WideResNet

    with pytest.raises(ValueError, match=f"{rule} .*; got {depth}"):
        CifarResNet(depth) if name == "resnet" else WideResNet(depth, 2)


def test_bad_options_are_refused():
    with pytest.raises(ModelError, match=r"zoo:resnet8 cannot be built with \(colours=3\): .*colours"):
        load_model("resnet8", colours=3)


def test_the_stages_of_vgg_keep_the_last_map_at_four_by_four():
    rows = {row.name: row.shape for row in describe(ZOO["vgg8"](), torch.zeros(1, 3, 32, 32))}
    assert [rows[f"layer{i}"][2] for i in range(1, 6)] == [32, 16, 8, 4, 4]


def test_the_zoo_needs_no_torchvision_and_no_timm():
    code = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torchvision", "timm", "PIL", "pandas", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import torch
from kdlens.errors import ModelError
from kdlens.models import layers, load, taps, tokens, weights
network = load.load_model("zoo:cnn8", classes=3)
image = torch.zeros(1, 3, 32, 32)
taps.record(network, image, layers.auto_layers(network, image))
for arch in ("timm:resnet18", "torchvision:resnet18"):
    try:
        load.load_model(arch)
    except ModelError as error:
        assert "pip install" in str(error) and "kdlens[vision]" in str(error), error
    else:
        raise SystemExit("must be refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
