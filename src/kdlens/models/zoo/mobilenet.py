"""MobileNetV2 (Sandler et al. 2018) at half width for small images, as the distillation literature uses it."""

import torch.nn.functional as F
from torch import Tensor, nn

from kdlens.models.zoo.common import conv_bn, initialise

# One row a stage: (expansion, channels at full width, blocks, stride of the first block)
_ROWS = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
_STAGES = ((0, 1), (2,), (3, 4), (5, 6))  # rows of one map size


class InvertedResidual(nn.Module):
    """1x1 convolution up, 3x3 depthwise, 1x1 down without activation; the shortcut joins the narrow ends."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.conv = nn.Sequential(
            conv_bn(inputs, hidden, 1),
            conv_bn(hidden, hidden, 3, stride, groups=hidden),
            conv_bn(hidden, outputs, 1, relu=False),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(n, inputs, h, w)` to `(n, outputs, h / stride, w / stride)`."""
        return x + self.conv(x) if self.adds else self.conv(x)


class MobileNetV2(nn.Module):
    """Stem with stride 2, four stages of inverted residuals, a 1x1 convolution to 1280 channels, one linear layer."""

    def __init__(self, num_classes: int = 10, in_channels: int = 3, width: float = 0.5) -> None:
        super().__init__()
        inputs = int(32 * width)
        self.stem = conv_bn(in_channels, inputs, 3, 2)
        stages = []
        for rows in _STAGES:
            blocks, inputs = _blocks(rows, inputs, width)
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.head = conv_bn(inputs, 1280, 1)
        self.fc = nn.Linear(1280, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images `(n, C, H, W)` to logits `(n, num_classes)`."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(x)))))
        return self.fc(F.adaptive_avg_pool2d(self.head(x), 1).flatten(1))


def _blocks(rows: tuple[int, ...], inputs: int, width: float) -> tuple[list[nn.Module], int]:
    blocks: list[nn.Module] = []
    for expansion, channels, count, stride in (_ROWS[row] for row in rows):
        outputs = int(channels * width)
        for i in range(count):
            blocks.append(InvertedResidual(inputs, outputs, stride if i == 0 else 1, expansion))
            inputs = outputs
    return blocks, inputs


mobilenetv2 = MobileNetV2
