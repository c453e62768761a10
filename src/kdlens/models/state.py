"""Run somebody's network without leaving a trace: it comes back byte for byte as it was, whatever happens inside."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdlens.errors import ModelError
from kdlens.models.wrappers import wrappers

# What DistributedDataParallel and DataParallel do around a forward pass that an onlooker must not set off:
# preparing the gradient exchange, broadcasting buffers, splitting the batch.
_WRAPPER_SWITCHES: dict[str, Any] = {"require_backward_grad_sync": False, "require_forward_param_sync": False}


@contextmanager
def undisturbed(model: nn.Module, *, gradients: bool = False) -> Iterator[None]:
    """Put the network into eval mode and take everything back afterwards, also after an error or Ctrl-C.

    Inside: every module is in eval mode (by its flag; `train()` and `eval()` of the classes are not called), gradients
    are off or, with `gradients=True`, on with all parameters frozen, so that a backward pass reaches activations but no
    parameter. Afterwards training flags, `requires_grad`, buffers and random states are as found.

    Args:
        model: any network, wrapped or not.
        gradients: whether a graph is recorded, whatever mode the caller is in.

    Raises:
        ModelError: gradients are asked for and the network was made under `torch.inference_mode()`.

    Example:
        >>> net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).train()
        >>> with undisturbed(net):
        ...     net.training
        False
        >>> net[1].training
        True
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(gradients))
        stack.enter_context(_random_states(model))
        stack.enter_context(_eager(model))
        stack.enter_context(_no_fused_attention())
        stack.enter_context(_buffers(model))
        stack.enter_context(_eval_flags(model))
        stack.enter_context(_quiet_wrappers(model))
        if gradients:
            stack.enter_context(_frozen(model))
        yield


@contextmanager
def _eval_flags(model: nn.Module) -> Iterator[None]:
    found = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in found:
            module.training = False
        yield
    finally:
        for module, training in found:
            module.training = training


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    found = [(name, parameter, parameter.requires_grad) for name, parameter in model.named_parameters()]
    for name, parameter, _ in found:
        if parameter.is_inference():
            raise ModelError(
                f'parameter "{name}" of {type(model).__name__} was made under torch.inference_mode(), so no gradient '
                "can pass it; build and load the network outside inference_mode"
            )
    try:
        for _, parameter, _ in found:
            parameter.requires_grad_(False)
        yield
    finally:
        for _, parameter, required in found:
            parameter.requires_grad_(required)


@contextmanager
def _buffers(model: nn.Module) -> Iterator[None]:
    """Undo what a forward pass does to buffers in spite of eval mode (call counters, moving averages)."""
    found = [
        (module, name, buffer, buffer.detach().clone(), _version(buffer))
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for module, name, buffer, copy, version in found:
                if version is None or _version(buffer) != version:
                    buffer.copy_(copy)
                module._buffers[name] = buffer


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


@contextmanager
def _random_states(model: nn.Module) -> Iterator[None]:
    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=sorted(device for device in devices if device is not None)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def _eager(model: nn.Module) -> Iterator[None]:
    """Compiled code does not call hooks that were added after it was compiled, so it is bypassed."""
    compiled = any("_orig_mod" in m._modules or m._compiled_call_impl is not None for m in model.modules())
    if not compiled:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def _no_fused_attention() -> Iterator[None]:
    """The fused inference kernel of `nn.TransformerEncoderLayer` calls none of its submodules."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


@contextmanager
def _quiet_wrappers(model: nn.Module) -> Iterator[None]:
    found: list[tuple[nn.Module, str, Any]] = []
    try:
        for wrapper in wrappers(model):
            for name, value in _switches(wrapper).items():
                found.append((wrapper, name, getattr(wrapper, name)))
                setattr(wrapper, name, value)
        yield
    finally:
        for wrapper, name, value in reversed(found):
            setattr(wrapper, name, value)


def _switches(wrapper: nn.Module) -> dict[str, Any]:
    switches = {name: value for name, value in _WRAPPER_SWITCHES.items() if name in vars(wrapper)}
    if isinstance(wrapper, nn.DataParallel) and len(wrapper.device_ids) > 1:
        switches["device_ids"] = wrapper.device_ids[:1]  # replicas would give every activation in pieces
    return switches
