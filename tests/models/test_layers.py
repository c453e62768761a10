import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdlens.errors import LayerNotFoundError, LayerShapeError
from kdlens.models.layers import LayerInfo, auto_layers, describe, last_spatial_layer, resolve
from kdlens.models.zoo import ZOO

IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.fixture
def resnet():
    return ZOO["resnet20"]()


@pytest.mark.parametrize("name", ["layer1", "layer3.2.conv1", "fc"])
def test_dotted_names_are_those_of_named_modules(resnet, name):
    assert resolve(resnet, name) is dict(resnet.named_modules())[name]


WRONG = {
    "layer5": 'layer "layer5" not found in CifarResNet; did you mean "layer3"',
    "layr3.2.conv1": '; did you mean "layer3.2.conv1"',
    "layer3.conv1": '; did you mean "layer3.',
    "zzz": '; its top layers are "conv1", "bn1", "layer1", "layer2", "layer3", "fc"',
    "": 'layer "" not found',
    "layer3.": "not found",
    "layer3..0": "not found",
    "forward": "not found",
    "layer9#1": 'layer "layer9#1" not found',
}


@pytest.mark.parametrize(("name", "text"), WRONG.items(), ids=repr)
def test_a_wrong_name_is_answered_with_near_ones(resnet, name, text):
    with pytest.raises(LayerNotFoundError) as caught:
        resolve(resnet, name)
    assert text in str(caught.value)


def test_a_module_in_place_of_a_name_is_answered_with_its_name(resnet):
    with pytest.raises(
        LayerNotFoundError, match=r'give a layer by its dotted name, such as "layer2.0"; got BasicBlock'
    ):
        resolve(resnet, resnet.layer2[0])
    with pytest.raises(LayerNotFoundError, match="by its dotted name"):
        resolve(resnet, None)


ZOO_STAGES = {
    "cnn8": ("layer1", "layer2", "layer3"),
    "resnet56": ("layer1", "layer2", "layer3"),
    "resnet8x4": ("layer1", "layer2", "layer3"),
    "wrn_40_1": ("layer1", "layer2", "layer3"),
    "vgg8": ("layer1", "layer2", "layer3", "layer5"),  # layer4 and layer5 have one map size
    "vgg13": ("layer1", "layer2", "layer3", "layer5"),
    "mobilenetv2": ("layer1", "layer2", "layer3", "layer4"),
    "shufflenetv1": ("stem", "layer1", "layer2", "layer3"),
    "shufflenetv2": ("stem", "layer1", "layer2", "layer3"),
    "vit_tiny_cifar": ("blocks.0", "blocks.2", "blocks.3", "blocks.5"),
}


@pytest.mark.parametrize(("name", "expected"), ZOO_STAGES.items())
def test_the_zoo_shows_its_stages(name, expected):
    network = ZOO[name]()
    assert auto_layers(network, IMAGE) == expected
    assert last_spatial_layer(network, IMAGE) == expected[-1]


class Functional(nn.Module):
    """Pools between its layers without a module for it, and uses one ReLU everywhere."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3, 1, 1), nn.Conv2d(4, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(8, 2)

    def forward(self, x):
        x = F.max_pool2d(self.relu(self.a(x)), 2)
        x = F.max_pool2d(self.relu(self.b(x)), 2)
        return self.fc(self.relu(self.c(x)).mean((2, 3)))


class Isotropic(nn.Module):
    """Blocks in a list, all of one map size."""

    def __init__(self, depth):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 3, 3, 1, 1), nn.ReLU(), nn.Conv2d(3, 3, 1)) for _ in range(depth)
        )

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x.mean((2, 3))


class Backbone(nn.Module):
    """A network inside a network, which gives a dict."""

    def __init__(self):
        super().__init__()
        self.body = ZOO["cnn8"]()
        self.body.fc = nn.Identity()
        self.head = nn.Linear(32, 2)

    def forward(self, x):
        return {"logits": self.head(self.body(x))}


def strided(*widths):
    layers = []
    for inputs, outputs in zip((3, *widths), widths, strict=False):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


AUTO = {
    "calls of one ReLU": (Functional(), ("relu#0", "relu#1", "relu#2")),
    "blocks of one size": (Isotropic(8), ("blocks.1", "blocks.3", "blocks.5", "blocks.7")),
    "three blocks of one size": (Isotropic(3), ("blocks.0", "blocks.1", "blocks.2")),
    "a backbone": (Backbone(), ("body.layer1", "body.layer2", "body.layer3")),
    "a row of layers": (strided(4, 4, 4), ("2", "5", "8")),
    "the last four of five": (strided(4, 4, 4, 4), ("2", "5", "8", "11")),
    "one layer": (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(3600, 2)), ("0",)),
    "a single module": (nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3))), ("0",)),
    "wrapped": (nn.DataParallel(ZOO["cnn8"]()), ("layer1", "layer2", "layer3")),
}


@pytest.mark.parametrize(("network", "expected"), AUTO.values(), ids=AUTO)
def test_auto_on_networks_of_every_make(network, expected):
    assert auto_layers(network, IMAGE) == expected


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 48), (224, 224)])
def test_auto_does_not_depend_on_the_image_size(size):
    assert auto_layers(ZOO["resnet20"](), torch.zeros(1, 3, *size)) == ("layer1", "layer2", "layer3")


def test_stages_of_one_cell_are_left_out():
    assert auto_layers(strided(4, 4, 4, 4), torch.zeros(1, 3, 8, 8)) == ("2", "5")


@pytest.mark.parametrize("network", [nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)), nn.Identity()])
def test_a_network_without_maps_is_refused(network):
    if isinstance(network, nn.Identity):
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1))
    with pytest.raises(LayerShapeError, match=r"no layer of Sequential gives a map .* input of shape \(1, 3, 32, 32\)"):
        auto_layers(network, IMAGE)


def test_the_example_must_be_an_image(resnet):
    with pytest.raises(LayerShapeError, match=r"must be one image, \(1, C, H, W\); got shape \(3, 32, 32\)"):
        auto_layers(resnet, IMAGE[0])


def test_describe_lists_every_layer_in_order():
    network = Functional()
    network.unused = nn.Linear(2, 2)
    assert describe(network, IMAGE) == [
        LayerInfo("a", "Conv2d", (1, 4, 32, 32), True, 112, 1),
        LayerInfo("b", "Conv2d", (1, 8, 16, 16), True, 296, 1),
        LayerInfo("c", "Conv2d", (1, 8, 8, 8), True, 584, 1),
        LayerInfo("relu", "ReLU", (1, 8, 8, 8), True, 0, 3),
        LayerInfo("fc", "Linear", (1, 2), False, 18, 1),
        LayerInfo("unused", "Linear", (), False, 6, 0),
    ]


def test_describe_tells_tokens_from_vectors():
    rows = {row.name: row for row in describe(ZOO["vit_tiny_cifar"](depth=1), IMAGE)}
    assert rows["blocks.0"].spatial
    assert rows["blocks.0"].shape == (1, 65, 96)
    assert not rows["head"].spatial
