"""The zoo: small networks for small images, those of the distillation literature among them.

Every builder takes `(num_classes=10, in_channels=3)`, works on any image of at least 16 x 16 pixels, and gives a
network whose stages are called `layer1`, `layer2`, ... (`blocks.0`, `blocks.1`, ... in the transformer).
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from kdlens.registry import Registry

Builder = Callable[..., nn.Module]

_HERE = "kdlens.models.zoo"
_BUILTIN = {
    **{name: f"{_HERE}.cnn:{name}" for name in ("cnn8", "cnn16", "cnn32", "smoothcnn8")},
    **{f"resnet{depth}": f"{_HERE}.resnet:resnet{depth}" for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{name: f"{_HERE}.resnet:{name}" for name in ("resnet8x4", "resnet32x4")},
    **{
        name: f"{_HERE}.wrn:{name}"
        for name in ("wrn_16_1", "wrn_16_2", "wrn_28_2", "wrn_40_1", "wrn_40_2", "wrn_28_10")
    },
    **{f"vgg{depth}": f"{_HERE}.vgg:vgg{depth}" for depth in (8, 11, 13, 16, 19)},
    "ltb": "kdlens.nn.learn_to_branch:ltb_compat",
    "mobilenetv2": f"{_HERE}.mobilenet:mobilenetv2",
    "shufflenetv1": f"{_HERE}.shufflenet_v1:shufflenetv1",
    "shufflenetv2": f"{_HERE}.shufflenet_v2:shufflenetv2",
    "vit_tiny_cifar": f"{_HERE}.vit:vit_tiny_cifar",
}


class Zoo(Registry[Builder]):
    """A registry that also knows families: `wrn_DEPTH_WIDTH`, `cnnWIDTH`, `smoothcnnWIDTH`, and `hme_BACKBONE`.

    Example:
        >>> network = ZOO["wrn_10_1"](num_classes=5)
        >>> network.fc.out_features
        5
    """

    def __getitem__(self, name: str) -> Builder:
        if super().__contains__(name):
            return super().__getitem__(name)
        return _family_member(name) or super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and _family_member(name) is not None)


def _family_member(name: str) -> Builder | None:
    if match := re.fullmatch(r"wrn_(\d{1,3})_(\d{1,2})", name):
        return _wrn(int(match[1]), int(match[2]))
    if match := re.fullmatch(r"(smooth)?cnn(\d{1,3})", name):
        return _cnn(int(match[2]), smooth=match[1] is not None)
    if name.startswith("hme_"):
        return _hme(name.removeprefix("hme_"))
    return None


def _hme(backbone: str) -> Builder | None:
    from kdlens.models.zoo.hme import RESNETS, VGGS, hme

    family = backbone.startswith(("wrn_", "cnn", "smoothcnn")) and backbone in ZOO
    valid = backbone in RESNETS or backbone in VGGS or family
    return partial(hme, backbone) if valid else None


def _wrn(depth: int, width: int) -> Builder | None:
    from kdlens.models.zoo.wrn import WideResNet

    valid = depth >= 10 and (depth - 4) % 6 == 0 and width >= 1
    return partial(WideResNet, depth, width) if valid else None


def _cnn(width: int, *, smooth: bool) -> Builder | None:
    from kdlens.models.zoo.cnn import SmallCNN

    return partial(SmallCNN, width, smooth=smooth) if width >= 1 else None


ZOO: Registry[Any] = Zoo("network", _BUILTIN, group="kdlens.networks")
