"""Layers by dotted name: find them, list them, and choose the ones worth looking at."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from kdlens.errors import LayerNotFoundError, LayerShapeError, did_you_mean
from kdlens.models.stages import map_size, stages
from kdlens.models.trace import trace
from kdlens.models.wrappers import unwrap, wrappers

MOST_AUTO_LAYERS = 4
_CALL = re.compile(r"(?P<name>.+)#(?P<call>\d+)")


def resolve(model: nn.Module, name: str) -> nn.Module:
    """Return the module called `name`, looking through wrappers (DataParallel, torch.compile, ...).

    Args:
        model: any network, wrapped or not.
        name: dotted name as `named_modules()` prints it; an ending `#k` (a call of a re-used module) is ignored.

    Raises:
        LayerNotFoundError: there is none; the text offers the nearest names.

    Example:
        >>> resolve(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "1")
        ReLU()
        >>> resolve(nn.ModuleDict({"layer4": nn.ReLU()}), "layer5")
        Traceback (most recent call last):
        kdlens.errors.LayerNotFoundError: layer "layer5" not found in ModuleDict; did you mean "layer4"?
    """
    if not isinstance(name, str):
        raise LayerNotFoundError(
            f"give a layer by its dotted name, such as {_an_example(model, name)}; got {name!r:.80}"
        )
    for candidate in dict.fromkeys((name, _bare(name))):
        found = _find(model, candidate)
        if found is not None:
            return found
    network = unwrap(model)
    names = [known for known, _ in network.named_modules() if known]
    hint = did_you_mean(name, names) or f"; its top layers are {_top(names)}"
    raise LayerNotFoundError(f'layer "{name}" not found in {type(network).__name__}{hint}')


def split_call(model: nn.Module, name: str) -> tuple[str, int | None]:
    """Split `relu#1` into the layer and the call meant; the call is None where none is named.

    Example:
        >>> split_call(nn.ReLU(), "layer1.relu#1"), split_call(nn.ReLU(), "layer1")
        (('layer1.relu', 1), ('layer1', None))
    """
    match = _CALL.fullmatch(name)
    if match is None or _find(model, name) is not None:
        return name, None
    return match["name"], int(match["call"])


def _an_example(model: nn.Module, given: object) -> str:
    names = {module: name for name, module in unwrap(model).named_modules() if name}
    found = names.get(given) if isinstance(given, nn.Module) else None
    return f'"{found or next(reversed(names.values()), "layer4")}"'


def _bare(name: str) -> str:
    match = _CALL.fullmatch(name)
    return match["name"] if match else name


def _find(model: nn.Module, name: str) -> nn.Module | None:
    if not name:
        return None
    for holder in (unwrap(model), *wrappers(model)):
        try:
            return holder.get_submodule(name)
        except AttributeError:
            continue
    return None


def _top(names: Iterable[str], most: int = 8) -> str:
    top = list(dict.fromkeys(name.partition(".")[0] for name in names))
    return ", ".join(f'"{name}"' for name in top[:most]) + (", ..." if len(top) > most else "")


def auto_layers(model: nn.Module, example: Tensor) -> tuple[str, ...]:
    """Choose the layers to look at: the last block of every spatial stage, at most four, first to last.

    A stage is what happens at one map size. Networks that keep one map size (ViT, mixers) give evenly spaced blocks,
    the last one among them. Nothing depends on the model family: the choice is read off one forward pass.

    Args:
        model: any network, wrapped or not; it comes back as it was.
        example: one input, `(1, C, H, W)`, on the network's device.

    Raises:
        LayerShapeError: no layer gives a map or tokens that fit the image.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU())
        >>> auto_layers(net, torch.zeros(1, 3, 32, 32))
        ('1', '3')
    """
    size = _image_size(example)
    found = stages(trace(model, example), size)
    if not found:
        raise LayerShapeError(
            f"no layer of {type(unwrap(model)).__name__} gives a map (n, C, h, w) or image tokens (n, tokens, C) for "
            f"an input of shape {tuple(example.shape)}; larger images may help, or name the layers"
        )
    return tuple(found[-MOST_AUTO_LAYERS:])


def last_spatial_layer(model: nn.Module, example: Tensor) -> str:
    """Return the last layer that `auto_layers` would choose, the usual one for a saliency map.

    Example:
        >>> import torch
        >>> last_spatial_layer(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), torch.zeros(1, 3, 8, 8))
        '0'
    """
    return auto_layers(model, example)[-1]


@dataclass(frozen=True)
class LayerInfo:
    """One layer, as one forward pass shows it.

    Attributes:
        name: dotted name.
        kind: class of the module.
        shape: shape of the output for the example; `()` if the layer was not called or gave no tensor.
        spatial: whether the output is a map, or tokens that can be made one.
        params: number of parameters inside.
        calls: how often it is called in one forward pass.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    spatial: bool
    params: int
    calls: int = 1


def describe(model: nn.Module, example: Tensor) -> list[LayerInfo]:
    """List every layer in the order of `named_modules()`, with the shape it gives for `example`.

    Example:
        >>> import torch
        >>> for layer in describe(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()), torch.zeros(1, 3, 8, 8)):
        ...     print(layer.name, layer.kind, layer.shape, layer.spatial, layer.params)
        0 Conv2d (1, 4, 6, 6) True 112
        1 Flatten (1, 144) False 0
    """
    size = _image_size(example)
    last = {call.module: call for call in trace(model, example).walk()}
    rows = []
    for name, module in unwrap(model).named_modules():
        if not name:
            continue
        call = last.get(module)
        rows.append(
            LayerInfo(
                name=name,
                kind=type(module).__name__,
                shape=call.shape if call else (),
                spatial=call is not None and map_size(call, size) is not None,
                params=sum(p.numel() for p in module.parameters()),
                calls=call.index + 1 if call else 0,
            )
        )
    return rows


def _image_size(example: Tensor) -> tuple[int, int]:
    if example.ndim != 4:
        raise LayerShapeError(f"the example must be one image, (1, C, H, W); got shape {tuple(example.shape)}")
    return int(example.shape[2]), int(example.shape[3])
