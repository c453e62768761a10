"""Activations, and gradients with respect to them, at dotted layer names.

Everything that looks into a network goes through `Recorder`. It runs the network in eval mode, reads all layers in one
forward pass, and leaves the network byte for byte as it was, also after an exception or Ctrl-C. `Tap` is its bare core
for training, where the network shall stay in the mode it is in.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from kdlens.errors import LayerShapeError
from kdlens.models.layers import resolve, split_call
from kdlens.models.nested import first_tensor, replace_tensor
from kdlens.models.state import undisturbed
from kdlens.models.wrappers import unwrap as unwrap


class Tap:
    """Keeps what layers give, in the caller's mode and graph; for training. Use `Recorder` to look at a network.

    Args:
        model: any network, wrapped or not.
        layers: dotted names as `named_modules()` prints them; `name#k` for the k-th call (from 0) of a re-used module.
        leaves: whether an activation that needs no gradient becomes a leaf that does.

    The first tensor of a tuple, list, dict or dataclass output is kept. Each pass of the whole network starts anew.

    Raises:
        LayerNotFoundError: the network has no such layer.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True))
        >>> with Tap(net, ["0"]) as tap:
        ...     out = net(torch.ones(1, 3))
        >>> bool((tap["0"].relu() == out).all())
        True
    """

    def __init__(self, model: nn.Module, layers: Iterable[str], *, leaves: bool = False) -> None:
        self.model = model
        self.layers = tuple(layers)
        self._leaves = leaves
        self._modules = {layer: resolve(model, split_call(model, layer)[0]) for layer in self.layers}
        self._calls: dict[nn.Module, list[Tensor | None]] = {module: [] for module in self._modules.values()}
        self._hooks = ExitStack()

    def __enter__(self) -> "Tap":
        with ExitStack() as hooks:
            root = unwrap(self.model)
            hooks.callback(root.register_forward_pre_hook(self._start).remove)
            for module in self._calls:
                hooks.callback(module.register_forward_hook(self._keep).remove)
            self._hooks = hooks.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._hooks.close()

    def __getitem__(self, layer: str) -> Tensor:
        """Return the activation at `layer`, as the layer gave it.

        Raises:
            LayerShapeError: the layer was not called, was called more than once, or gave no tensor.
        """
        name, call = split_call(self.model, layer)
        module = self._modules.get(layer) or resolve(self.model, name)
        calls = self._calls.get(module)
        if calls is None:
            raise LayerShapeError(f'layer "{name}" was not recorded; recorded: {", ".join(self.layers)}')
        return self._one(name, call, calls)

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def _one(self, name: str, call: int | None, calls: list[Tensor | None]) -> Tensor:
        if not calls:
            raise LayerShapeError(
                f'layer "{name}" is not called in the forward pass of {type(unwrap(self.model)).__name__}, so it has '
                "no activation; choose one that is (kdlens layers MODEL lists them)"
            )
        if call is None and len(calls) > 1:
            raise LayerShapeError(
                f'layer "{name}" is called {len(calls)} times in one forward pass; '
                f'choose a call: "{name}#0" to "{name}#{len(calls) - 1}"'
            )
        if call is not None and call >= len(calls):
            raise LayerShapeError(
                f'layer "{name}" is called {len(calls)} times in one forward pass, so no "{name}#{call}"'
            )
        found = calls[call or 0]
        if found is None:
            raise LayerShapeError(f'layer "{name}" gives no tensor, so it has no activation; choose another layer')
        return found

    def _start(self, _module: nn.Module, _inputs: Any) -> None:
        if not _in_backward():
            for calls in self._calls.values():
                calls.clear()

    def _keep(self, module: nn.Module, _inputs: Any, output: Any) -> Any:
        given = first_tensor(output)
        if given is None:
            self._calls[module].append(None)
            return None
        kept, passed_on = self._fork(given)
        if not _in_backward():  # a checkpointed part of the network runs again there
            self._calls[module].append(kept)
        return replace_tensor(output, given, passed_on)

    def _fork(self, given: Tensor) -> tuple[Tensor, Tensor]:
        """Give the tensor to keep and the one to pass on, so that neither sees in-place operations on the other."""
        if not torch.is_grad_enabled():
            return given.detach().clone(), given
        kept = given.clone()
        if self._leaves and not kept.requires_grad and (kept.is_floating_point() or kept.is_complex()):
            kept = kept.detach().requires_grad_()
        return kept, kept.clone()


class Recorder(Tap):
    """Activations of a network at dotted layer names, in eval mode and without a trace.

    Args:
        model: any network, wrapped or not.
        layers: dotted names as `named_modules()` prints them; `name#k` for the k-th call (from 0) of a re-used module.
        gradients: keep the activations in a graph, so that `torch.autograd.grad(score, recorder[layer])` works, also
            under an outer `no_grad` and with frozen parameters. Parameters get no gradient. Compute `score` inside the
            `with` block.

    Inside the block the network is in eval mode. Afterwards hooks are gone, and training flags, `requires_grad`,
    gradients, buffers and random states are as found, also after an exception or Ctrl-C. Activations stay readable.

    Raises:
        LayerNotFoundError: the network has no such layer.
        LayerShapeError: (on reading) the layer was not called, was called more than once, or gave no tensor.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 2))
        >>> with torch.no_grad(), Recorder(net, ["0"], gradients=True) as recorder:
        ...     score = net(torch.ones(1, 3, 8, 8))[0, 1]
        >>> torch.autograd.grad(score, recorder["0"])[0].shape
        torch.Size([1, 4, 6, 6])
    """

    def __init__(self, model: nn.Module, layers: Iterable[str], *, gradients: bool = False) -> None:
        super().__init__(model, layers, leaves=gradients)
        self.gradients = gradients
        self._state = ExitStack()

    def __enter__(self) -> "Recorder":
        with ExitStack() as state:
            state.enter_context(undisturbed(self.model, gradients=self.gradients))
            super().__enter__()
            state.callback(self._hooks.close)
            if self.gradients:
                handle = unwrap(self.model).register_forward_pre_hook(_usable_in_graphs, with_kwargs=True)
                state.callback(handle.remove)
            self._state = state.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._state.close()


def record(model: nn.Module, x: Tensor, layers: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Run one pass without gradients; return the output and the activations at `layers`.

    Args:
        model: any network, wrapped or not; it comes back as it was.
        x: input `(n, ...)`, on the network's device.
        layers: dotted names; may be empty.

    Returns:
        The output (its first tensor, where it is a tuple or dict) and a dict from name to activation.

    Raises:
        LayerNotFoundError: the network has no such layer.
        LayerShapeError: a layer is not called, is called more than once, or gives no tensor.

    Example:
        >>> output, found = record(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.ones(3, 2, 2), ["0"])
        >>> output.shape, found["0"].shape
        (torch.Size([3, 2]), torch.Size([3, 4]))
    """
    with Recorder(model, layers) as recorder:
        output = first_tensor(unwrap(model)(x))
    if output is None:
        raise LayerShapeError(f"{type(unwrap(model)).__name__} gives no tensor")
    return output, {layer: recorder[layer] for layer in recorder.layers}


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


def _usable_in_graphs(_module: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Copy tensors made under inference_mode: autograd refuses to save them."""
    return tuple(_normal(value) for value in inputs), {name: _normal(value) for name, value in kwargs.items()}


def _normal(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) and value.is_inference() else value
