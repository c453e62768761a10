"""Mixtures of experts cut from the zoo's networks: `zoo:hme_resnet20`, `zoo:hme_wrn_16_2`, `zoo:hme_vgg8`.

The stem and the first stage are the trunk. Each later stage becomes a level of experts, which are that stage cut into
equal parts: with 4 experts, each has a quarter of its channels. The first level reads the whole trunk, later ones a
mixture of the experts below. Every class has a linear head, no and yes, on a mixture of the last level's experts.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from torch import nn

from kdlens.errors import ConfigError, UnknownNameError
from kdlens.models.zoo import cnn, resnet, vgg, wrn
from kdlens.models.zoo.common import conv_bn, initialise
from kdlens.nn.heads import LinearHeads
from kdlens.nn.hme import HME, TaskMode

RESNETS = {
    **{f"resnet{depth}": (depth, (16, 16, 32, 64)) for depth in (8, 14, 20, 32, 44, 56, 110)},
    **{f"resnet{depth}x4": (depth, (32, 64, 128, 256)) for depth in (8, 32)},
}
VGGS = {
    "vgg8": (1, 1, 1, 1, 1),
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}


class Parts(NamedTuple):
    """A backbone to be cut.

    Attributes:
        trunk: what stays whole.
        stages: what becomes levels of experts: a function of (inputs, outputs) for each.
        widths: channels of the trunk, and of every stage.
        last: what follows the last stage before pooling, a function of its channels; batch norm and ReLU, say.
    """

    trunk: nn.Module
    stages: Sequence[partial[nn.Sequential]]
    widths: Sequence[int]
    last: type[nn.Module] | None = None


def hme(
    backbone: str,
    num_classes: int = 10,
    in_channels: int = 3,
    *,
    experts: int = 4,
    task_mode: TaskMode = "binary",
    temperature: float = 1.0,
) -> HME:
    """Cut a network of the zoo into a mixture of experts.

    Args:
        backbone: a ResNet, WRN, VGG or small CNN of the zoo, by name.
        num_classes: K.
        in_channels: channels of the image.
        experts: N, into how many parts every stage but the first is cut; it must divide their channels.
        task_mode: see `kdlens.nn.HME`.
        temperature: of the attention; 0 is the hard choice.

    Raises:
        UnknownNameError: no such backbone.
        ConfigError: channels that the experts do not divide.

    Example:
        >>> network = hme("resnet8", num_classes=5)
        >>> [len(level) for level in network.levels], [tuple(a.logits.shape) for a in network.task_attentions()]
        ([4, 4], [(4, 4), (5, 4)])
    """
    parts = _parts(backbone, in_channels)
    if experts < 1:
        raise ConfigError(f"experts must be at least 1, not {experts}")
    for i, width in enumerate(parts.widths[1:]):
        if width % experts:
            raise ConfigError(
                f"stage {i + 2} of {backbone} has {width} channels, which {experts} experts do not divide"
            )
    widths = [parts.widths[0], *(width // experts for width in parts.widths[1:])]
    levels: list[list[nn.Module]] = [
        [stage(widths[i], widths[i + 1]) for _ in range(experts)] for i, stage in enumerate(parts.stages)
    ]
    levels[-1] = [_pooled(expert, parts.last, widths[-1]) for expert in levels[-1]]
    heads = LinearHeads(widths[-1], num_classes, 2 if task_mode == "binary" else 1)
    network = HME(parts.trunk, levels, heads, task_mode=task_mode, temperature=temperature)
    initialise(network)
    return network


def _pooled(expert: nn.Module, last: type[nn.Module] | None, width: int) -> nn.Module:
    """An expert of the last level gives one vector an image: pooling before the heads' mixtures, which is the same."""
    after = [] if last is None else [last(width), nn.ReLU()]
    return nn.Sequential(expert, *after, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _parts(backbone: str, in_channels: int) -> Parts:
    if backbone in RESNETS:
        return _resnet(*RESNETS[backbone], in_channels)
    if match := re.fullmatch(r"wrn_(\d{1,3})_(\d{1,2})", backbone):
        return _wrn(int(match[1]), int(match[2]), in_channels)
    if match := re.fullmatch(r"(smooth)?cnn(\d{1,3})", backbone):
        return _cnn(int(match[2]), in_channels, smooth=match[1] is not None)
    if backbone in VGGS:
        return _vgg(VGGS[backbone], in_channels)
    known = ", ".join([*RESNETS, "wrn_DEPTH_WIDTH", *VGGS, "cnnWIDTH", "smoothcnnWIDTH"])
    raise UnknownNameError(f'no mixture of experts can be cut from "{backbone}"; from these it can: {known}')


def _resnet(depth: int, widths: Sequence[int], in_channels: int) -> Parts:
    blocks = (depth - 2) // 6
    trunk = nn.Sequential(*conv_bn(in_channels, widths[0]), *resnet.stage(widths[0], widths[1], blocks, 1))
    return Parts(trunk, [partial(resnet.stage, blocks=blocks, stride=2)] * 2, widths[1:])


def _wrn(depth: int, width: int, in_channels: int) -> Parts:
    if depth < 10 or (depth - 4) % 6 or width < 1:
        raise ConfigError(f"the depth of a WRN must be 6 n + 4 (10, 16, 22, 28, ...); got wrn_{depth}_{width}")
    blocks = (depth - 4) // 6
    stem = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
    trunk = nn.Sequential(stem, *wrn.stage(16, 16 * width, blocks, 1))
    widths = (16 * width, 32 * width, 64 * width)
    return Parts(trunk, [partial(wrn.stage, blocks=blocks, stride=2)] * 2, widths, nn.BatchNorm2d)


def _vgg(convolutions: Sequence[int], in_channels: int) -> Parts:
    widths = (64, 128, 256, 512, 512)
    trunk = vgg.stage(in_channels, widths[0], convolutions[0], pool=False)
    stages = [partial(vgg.stage, convolutions=convolutions[i], pool=i < 4) for i in range(1, 5)]
    return Parts(trunk, stages, widths)


def _cnn(width: int, in_channels: int, *, smooth: bool) -> Parts:
    trunk = cnn.stage(in_channels, width, smooth=smooth, pool=False)
    return Parts(trunk, [partial(cnn.stage, smooth=smooth)] * 2, (width, 2 * width, 4 * width))
