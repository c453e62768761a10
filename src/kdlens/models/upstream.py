"""What a layer's output depends on: the part of a network that is frozen when "everything up to a layer" is."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdlens.models.layers import split_call
from kdlens.models.state import undisturbed
from kdlens.models.taps import Tap
from kdlens.models.trace import Call, trace
from kdlens.models.wrappers import unwrap


@dataclass(frozen=True)
class Upstream:
    """A network up to and including a layer.

    Attributes:
        parameters: names of trainable parameters that the layer's output depends on.
        modules: names of modules with buffers (BatchNorm statistics, say) that run before it and are not trained after.
    """

    parameters: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()


def upstream(network: nn.Module, layer: str, example: Tensor) -> Upstream:
    """Find what lies up to and including a layer, from one pass that leaves no trace.

    A parameter does where the layer's output depends on it, as autograd tells, so branches beside the layer do not.

    Args:
        network: any network.
        layer: dotted name; `name#k` for a call of a re-used module.
        example: `(1, C, H, W)`, on the network's device.

    Raises:
        LayerNotFoundError: no such layer; LayerShapeError: it is not called, or several times.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
        >>> found = upstream(net, "1", torch.zeros(1, 3, 4, 4))
        >>> sorted(found.parameters), sorted(found.modules)
        (['0.bias', '0.weight', '1.bias', '1.weight'], ['1'])
    """
    network = unwrap(network)
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    with undisturbed(network), torch.enable_grad(), Tap(network, [layer]) as tap:
        network(example)
        feature = tap[layer]
        needed = trained if feature.requires_grad else {}
        parts = torch.autograd.grad(feature.sum(), list(needed.values()), allow_unused=True) if needed else ()
    parameters = frozenset(name for name, part in zip(needed, parts, strict=True) if part is not None)
    ours = {id(trained[name]) for name in parameters}
    modules = {
        call.name
        for call in _until(network, layer, example)
        if any(buffer is not None for buffer in call.module._buffers.values())
        and all(id(p) in ours or not p.requires_grad for p in call.module.parameters(recurse=False))
    }
    return Upstream(parameters, frozenset(modules))


def _until(network: nn.Module, layer: str, example: Tensor) -> Iterator[Call]:
    """All calls that are over when the layer has given its output, its own parts included."""
    name, index = split_call(network, layer)
    root = trace(network, example)
    target = next(call for call in root.walk() if call.name == name and call.index == (index or 0))
    for call in root.walk():
        if call is target:
            break
        if not any(inner is target for inner in call.walk()):  # else it is still running
            yield call
    yield from target.walk()
