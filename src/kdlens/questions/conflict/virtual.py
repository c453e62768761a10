"""Virtual attention as trained, against even attention: what it does to the answers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from kdlens.errors import ModelError
from kdlens.models.wrappers import unwrap
from kdlens.nn.virtual import VirtualAttention


def virtual_layers(network: nn.Module) -> dict[str, VirtualAttention]:
    """The layers with virtual attention, by dotted name."""
    return {name: m for name, m in unwrap(network).named_modules() if isinstance(m, VirtualAttention)}


@contextmanager
def even_attention(network: nn.Module) -> Iterator[None]:
    """Within the block all virtual attention is even; afterwards it is as it was, also after an error.

    Raises:
        ModelError: the network has no virtual attention.

    Example:
        >>> from kdlens.nn import insert_vam
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
        >>> images = torch.rand(1, 3, 8, 8)
        >>> plain = network(images)
        >>> _ = insert_vam(network)
        >>> with torch.no_grad(), even_attention(network):
        ...     bool(torch.allclose(network(images), plain))
        True
    """
    layers = virtual_layers(network)
    if not layers:
        raise ModelError("the network has no virtual attention to even out; see kdlens.nn.insert_vam")
    kept = {name: layer.vam_logits.detach().clone() for name, layer in layers.items()}
    try:
        with torch.no_grad():
            for layer in layers.values():
                layer.vam_logits.zero_()
        yield
    finally:
        with torch.no_grad():
            for name, layer in layers.items():
                layer.vam_logits.copy_(kept[name])


def extra_parameters(network: nn.Module) -> int:
    """How many numbers virtual attention adds to a network."""
    return sum(layer.vam_logits.numel() for layer in virtual_layers(network).values())
