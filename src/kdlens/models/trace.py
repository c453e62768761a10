"""Which module is called when, inside which, and what comes out: the call tree of one forward pass."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from kdlens.models.nested import first_tensor
from kdlens.models.state import undisturbed
from kdlens.models.wrappers import unwrap


@dataclass(eq=False)
class Call:
    """One call of one module.

    Attributes:
        name: dotted name of the module; `""` for the whole network.
        module: the module.
        shape: shape of the first tensor it gave; `()` if it gave none.
        children: the calls made inside it, in order.
        index: which call of this module it is, from 0.
    """

    name: str
    module: nn.Module
    index: int = 0
    shape: tuple[int, ...] = ()
    children: list["Call"] = field(default_factory=list)

    def walk(self) -> Iterator["Call"]:
        """This call and all calls inside it."""
        yield self
        for child in self.children:
            yield from child.walk()


def trace(model: nn.Module, example: Tensor) -> Call:
    """Run one pass and return its call tree; the network comes back as it was.

    Example:
        >>> root = trace(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), torch.ones(1, 4))
        >>> [(call.name, call.shape) for call in root.walk()]
        [('', (1, 2)), ('0', (1, 2)), ('1', (1, 2))]
    """
    network = unwrap(model)
    tracer = _Tracer(network)
    with undisturbed(model), ExitStack() as hooks:
        for module in network.modules():
            hooks.callback(module.register_forward_pre_hook(tracer.enter).remove)
            hooks.callback(module.register_forward_hook(tracer.leave).remove)
        network(example)
    return tracer.root


class _Tracer:
    def __init__(self, network: nn.Module) -> None:
        self.names = {module: name for name, module in network.named_modules()}
        self.counts: dict[nn.Module, int] = {}
        self.root = Call("", network)
        self.open: list[Call] = []

    def enter(self, module: nn.Module, _inputs: Any) -> None:
        call = self.root
        if self.open:
            call = Call(self.names[module], module, self.counts.get(module, 0))
            self.open[-1].children.append(call)
        self.counts[module] = self.counts.get(module, 0) + 1
        self.open.append(call)

    def leave(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        found = first_tensor(output)
        self.open.pop().shape = tuple(found.shape) if found is not None else ()


def weighted(call: Call) -> int:
    """Number of modules called inside `call` that mix channels or tokens: those with a weight of two or more axes."""
    modules = {inner.module for inner in call.walk() if _mixes(inner.module)}
    return len(modules)


def _mixes(module: nn.Module) -> bool:
    return any(isinstance(p, torch.nn.Parameter) and p.ndim >= 2 for p in module._parameters.values())
