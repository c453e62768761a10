"""The layer that the classes share: which one, and all of its parameters."""

import torch
from torch import Tensor, nn

from kdlens.errors import ModelError
from kdlens.models.layers import auto_layers, resolve, split_call
from kdlens.models.weighted import layer_of_weights
from kdlens.models.wrappers import unwrap
from kdlens.nn import HME


def default_layer(network: nn.Module, example: Tensor) -> str:
    """The trunk of a mixture of experts, which alone all classes share; else the last stage, or the weights before it.

    Raises:
        LayerShapeError: no layer of the network gives a map.
        ModelError: no layer up to there has parameters.
    """
    inner = unwrap(network)
    if isinstance(inner, HME) and any(True for _ in inner.trunk.parameters()):
        return "trunk"
    return with_weights(network, auto_layers(network, example)[-1])


def with_weights(network: nn.Module, layer: str) -> str:
    """The layer itself, or the last one before it that has weights.

    Raises:
        LayerNotFoundError: no such layer.
        ModelError: there is none.
    """
    found = layer_of_weights(network, layer)
    if found is None:
        raise ModelError(
            f'neither layer "{layer}" of {type(unwrap(network)).__name__} nor one before it has parameters, so there '
            "is nothing that classes could pull apart; name a convolution, a block or a stage"
        )
    return found


def shared_parameters(network: nn.Module, layer: str) -> list[nn.Parameter]:
    """All real parameters of a layer, each once, frozen ones, too.

    Raises:
        LayerNotFoundError: no such layer.
        ModelError: it has none.

    Example:
        >>> [tuple(p.shape) for p in shared_parameters(nn.Sequential(nn.Linear(2, 3)), "0")]
        [(3, 2), (3,)]
    """
    module = resolve(network, layer)
    found = [parameter for parameter in module.parameters() if parameter.is_floating_point()]
    if not found:
        near = layer_of_weights(network, layer)
        hint = f'; the last layer with weights before it is "{near}"' if near else ""
        raise ModelError(f'layer "{split_call(network, layer)[0]}" ({type(module).__name__}) has no parameters{hint}')
    return found


def in_groups(parameters: list[nn.Parameter], rows: int, most_bytes: int) -> list[list[nn.Parameter]]:
    """Split parameters so that one gradient for each of `rows` tasks takes at most so many bytes, where one alone can.

    Example:
        >>> parameters = [nn.Parameter(torch.zeros(n)) for n in (3, 4, 5)]
        >>> [[len(p) for p in group] for group in in_groups(parameters, 2, 4 * 2 * 8)]
        [[3, 4], [5]]
    """
    groups: list[list[nn.Parameter]] = []
    held = 0
    for parameter in parameters:
        size = rows * parameter.nbytes
        if groups and held + size <= most_bytes:
            groups[-1].append(parameter)
            held += size
        else:
            groups.append([parameter])
            held = size
    return groups


def flat_size(parameters: list[nn.Parameter]) -> int:
    """How many numbers the parameters hold."""
    return sum(parameter.numel() for parameter in parameters)


def zero_rows(tasks: int, parameters: list[nn.Parameter]) -> Tensor:
    """A row for every task's gradient, all zero."""
    first = parameters[0]
    dtype = torch.float64 if any(p.dtype == torch.float64 for p in parameters) else torch.float32
    return torch.zeros(tasks, flat_size(parameters), dtype=dtype, device=first.device)
