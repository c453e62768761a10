"""Wide residual networks (Zagoruyko and Komodakis 2016): pre-activation blocks, `width` times wider."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.models.zoo.common import initialise


class PreActBlock(nn.Module):
    """Batch norm and ReLU before each of two 3x3 convolutions; where the width changes, the shortcut is a 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, inputs, h, w)` to `(n, outputs, h / stride, w / stride)`."""
        active = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """Three stages of `(depth - 4) / 6` pre-activation blocks with 16, 32 and 64 times `width` channels."""

    def __init__(self, depth: int, width: int, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"the depth must be 6 n + 4 (10, 16, 22, 28, ...); got {depth}")
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(in_channels, 16, 3, 1, 1, bias=False)
        self.layer1 = stage(16, 16 * width, blocks, 1)
        self.layer2 = stage(16 * width, 32 * width, blocks, 2)
        self.layer3 = stage(32 * width, 64 * width, blocks, 2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = F.relu(self.bn1(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    """Blocks, of which the first halves the map at stride 2."""
    first = PreActBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(PreActBlock(outputs, outputs) for _ in range(blocks - 1)))


wrn_16_1 = partial(WideResNet, 16, 1)
wrn_16_2 = partial(WideResNet, 16, 2)
wrn_28_2 = partial(WideResNet, 28, 2)
wrn_28_10 = partial(WideResNet, 28, 10)
wrn_40_1 = partial(WideResNet, 40, 1)
wrn_40_2 = partial(WideResNet, 40, 2)
