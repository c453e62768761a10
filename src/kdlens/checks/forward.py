"""Can the networks be run on the images at all? Where one cannot, say in which layer and why."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from kdlens.errors import KdlensError
from kdlens.models.device import device_of
from kdlens.models.taps import record
from kdlens.models.wrappers import unwrap
from kdlens.questions.phrases import counted

GENERAL = "Mend this first; it would stop an explanation, too."


@dataclass(frozen=True)
class Refusal:
    """Why a network cannot be run on images, and what to do."""

    reason: str
    advice: str


def refusal(network: nn.Module, x: Tensor) -> Refusal | None:
    """Run a network on a few images; None if it gives something for each.

    Example:
        >>> import torch
        >>> refusal(nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(2, 1, 8, 8)).reason
        'its layer "0" takes 3 channels, but gets 1'
    """
    x = x.to(device_of(network))
    try:
        output = record(network, x, ())[0]
    except Exception as error:  # noqa: BLE001 - whatever a user's network raises
        place = _Place()
        with contextlib.suppress(Exception), _followed(network, place):
            record(network, x, ())  # again, to see where
        return _told(error, place, network, x)
    if output.is_meta:
        return Refusal("its weights are on the meta device, so there are none", "Load its weights first.")
    if output.ndim == 0 or len(output) != len(x):
        reason = f"it gives an output of shape {tuple(output.shape)} for {len(x)} images"
        return Refusal(reason, "The output must have one row an image, with the logits of all classes.")
    return None


@dataclass
class _Place:
    """The layer a pass is in, with the shape it was given."""

    name: str = ""
    module: nn.Module | None = None
    shape: tuple[int, ...] = ()


@contextlib.contextmanager
def _followed(network: nn.Module, place: _Place) -> Iterator[None]:
    """Note which layer without layers inside was entered and not left."""

    def enter(name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        shape = tuple(inputs[0].shape) if inputs and isinstance(inputs[0], Tensor) else ()
        place.name, place.module, place.shape = name, module, shape

    def leave(*_: Any) -> None:
        place.module = None

    with contextlib.ExitStack() as hooks:
        for name, module in unwrap(network).named_modules():
            if not any(module.children()):
                hooks.callback(module.register_forward_pre_hook(partial(enter, name)).remove)
                hooks.callback(module.register_forward_hook(leave).remove)
        yield


def _told(error: Exception, place: _Place, network: nn.Module, x: Tensor) -> Refusal:
    module, shape = place.module, place.shape
    if isinstance(module, nn.Conv2d) and len(shape) == 4 and shape[1] != module.in_channels:
        reason = f'its layer "{place.name}" takes {counted(module.in_channels, "channel")}, but gets {shape[1]}'
        wanted = counted(module.in_channels, "channel")
        first = shape[1] == x.shape[1]
        return Refusal(reason, f"Give images with {wanted}, or a network made for {x.shape[1]}." if first else GENERAL)
    if isinstance(module, nn.Linear) and shape and shape[-1] != module.in_features:
        reason = f'its layer "{place.name}" takes {counted(module.in_features, "number")}, but gets {shape[-1]}'
        return Refusal(reason, "Give images of the size and with the channels that the network was made for.")
    text = (str(error).strip() or "no message").splitlines()[0].rstrip(".")
    if isinstance(error, KdlensError):
        return Refusal(text, GENERAL)
    where = f' in layer "{place.name}"' if module is not None and place.name else ""
    kinds = {p.dtype for p in network.parameters() if p.is_floating_point()} - {x.dtype}
    advice = (
        f"The images are {x.dtype}, and so must the weights be: call .float() on the network." if kinds else GENERAL
    )
    return Refusal(f"{type(error).__name__}{where}: {text}", advice)
