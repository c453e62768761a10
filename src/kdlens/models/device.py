"""Where a network lives."""

import torch
from torch import nn


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's first parameter or buffer; the CPU where it has none.

    Example:
        >>> device_of(nn.ReLU())
        device(type='cpu')
    """
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")
