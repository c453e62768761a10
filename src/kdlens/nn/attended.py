"""All attention in a network, of whatever kind: what a training needs to know of it."""

from collections.abc import Iterator
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import ModelError
from kdlens.nn.task_attention import TaskAttention, mean_entropy
from kdlens.nn.virtual import VirtualAttention

Attention = TaskAttention | VirtualAttention


def attention_modules(network: nn.Module) -> Iterator[tuple[str, Attention]]:
    """Yield every `TaskAttention` and every layer with virtual attention, with its dotted name."""
    for name, module in network.named_modules():
        if isinstance(module, TaskAttention | VirtualAttention):
            yield name, module


def attention_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return the logits of all attention in the network.

    Example:
        >>> from kdlens.nn import insert_vam
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
        >>> _ = insert_vam(network)
        >>> [p.shape for p in attention_parameters(network)]
        [torch.Size([4, 4])]
    """
    return [_logits(module) for _, module in attention_modules(network)]


def attention_entropy(network: nn.Module) -> Float[Tensor, ""]:
    """Return the mean over attentions of the mean entropy of their rows, in nats, with gradient.

    Raises:
        ModelError: there is no attention in the network.
    """
    found = [(_logits(module), module.temperature) for _, module in attention_modules(network)]
    if not found:
        raise ModelError("the network has no attention; put some in with kdlens.nn.insert_vam, or use kdlens.nn.HME")
    return mean_entropy(found)


def parameter_groups(
    network: nn.Module, *, attention_lr: float | None = None, attention_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Split a network's parameters for an optimiser: attention logits apart, by default without weight decay.

    Weight decay on logits pulls attention towards uniform, which is nobody's intention.

    Args:
        network: any network.
        attention_lr: learning rate of the logits; None: the optimiser's.
        attention_decay: weight decay of the logits.

    Example:
        >>> from kdlens.nn import insert_vam
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
        >>> _ = insert_vam(network)
        >>> import torch
        >>> optimizer = torch.optim.SGD(parameter_groups(network, attention_lr=0.01), lr=0.05, weight_decay=5e-4)
        >>> [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups]
        [(0.05, 0.0005), (0.01, 0.0)]
    """
    logits = attention_parameters(network)
    apart = {id(parameter) for parameter in logits}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in apart]
    group: dict[str, Any] = {"params": logits, "weight_decay": attention_decay}
    if attention_lr is not None:
        group["lr"] = attention_lr
    return [{"params": rest}, group] if logits else [{"params": rest}]


def _logits(module: Attention) -> nn.Parameter:
    return module.logits if isinstance(module, TaskAttention) else module.vam_logits
