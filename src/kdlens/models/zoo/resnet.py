"""ResNets for small images (He et al. 2016, section 4.2), and four times wider ones."""

from collections.abc import Sequence
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.models.zoo.common import conv_bn, initialise


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            conv_bn(inputs, outputs, 1, stride, relu=False) if stride != 1 or inputs != outputs else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, inputs, h, w)` to `(n, outputs, h / stride, w / stride)`."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class CifarResNet(nn.Module):
    """Three stages of `(depth - 2) / 6` basic blocks.

    Args:
        depth: 6 n + 2.
        widths: channels of the stem and of the three stages.
        num_classes: number of logits.
        in_channels: channels of the image.
    """

    def __init__(
        self, depth: int, widths: Sequence[int] = (16, 16, 32, 64), num_classes: int = 10, in_channels: int = 3
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"the depth must be 6 n + 2 (8, 14, 20, ...); got {depth}")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = stage(widths[0], widths[1], blocks, 1)
        self.layer2 = stage(widths[1], widths[2], blocks, 2)
        self.layer3 = stage(widths[2], widths[3], blocks, 2)
        self.fc = nn.Linear(widths[3], num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks, of which the first halves the map at stride 2."""
    first = BasicBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(BasicBlock(outputs, outputs) for _ in range(blocks - 1)))


_TIMES_4 = (32, 64, 128, 256)

resnet8 = partial(CifarResNet, 8)
resnet14 = partial(CifarResNet, 14)
resnet20 = partial(CifarResNet, 20)
resnet32 = partial(CifarResNet, 32)
resnet44 = partial(CifarResNet, 44)
resnet56 = partial(CifarResNet, 56)
resnet110 = partial(CifarResNet, 110)
resnet8x4 = partial(CifarResNet, 8, _TIMES_4)
resnet32x4 = partial(CifarResNet, 32, _TIMES_4)
