"""ShuffleNetV1 with three groups (Zhang et al. 2018) for small images, as the distillation literature uses it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.models.zoo.common import conv_bn, initialise

_GROUPS = 3
_STEM = 24
_WIDTHS = (240, 480, 960)
_BLOCKS = (4, 8, 4)


class ShuffleUnit(nn.Module):
    """Grouped 1x1 convolution, channel shuffle, 3x3 depthwise, grouped 1x1; stride 2 appends the pooled input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        made = outputs - inputs if stride == 2 else outputs
        hidden = made // 4
        groups = 1 if inputs == _STEM else _GROUPS
        self.reduce = conv_bn(inputs, hidden, 1, groups=groups)
        self.shuffle = nn.ChannelShuffle(groups)
        self.depthwise = conv_bn(hidden, hidden, 3, stride, groups=hidden)
        self.expand = conv_bn(hidden, made, 1, groups=_GROUPS, relu=False)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, inputs, h, w)` to `(n, outputs, h / stride, w / stride)`."""
        y = self.expand(self.depthwise(self.shuffle(self.reduce(x))))
        if self.stride == 1:
            return F.relu(y + x)
        return F.relu(torch.cat([y, F.avg_pool2d(x, 3, 2, 1)], 1))


class ShuffleNetV1(nn.Module):
    """1x1 stem, three stages of shuffle units that each halve the map, one linear layer."""

    def __init__(self, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = conv_bn(in_channels, _STEM, 1)
        inputs = (_STEM, *_WIDTHS)
        stages = [_stage(inputs[i], _WIDTHS[i], _BLOCKS[i]) for i in range(3)]
        self.layer1, self.layer2, self.layer3 = stages
        self.fc = nn.Linear(_WIDTHS[-1], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(
        ShuffleUnit(inputs, outputs, 2), *(ShuffleUnit(outputs, outputs, 1) for _ in range(blocks - 1))
    )


shufflenetv1 = ShuffleNetV1
