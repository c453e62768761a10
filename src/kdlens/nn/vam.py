"""Put virtual attention into a network, look at it, and take it out again or fold it away."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from kdlens.errors import ConfigError, LayerNotFoundError, ModelError, did_you_mean
from kdlens.nn.task_attention import check_temperature, mean_entropy
from kdlens.nn.virtual import ATTENDED, VirtualAttention, attend, restore

Where = Literal["auto", "all"] | Sequence[str] | Callable[[str, nn.Module], bool]
"""Which layers: see `insert_vam`."""

Blocks = int | tuple[int, int]
"""Groups of inputs and blocks of outputs; a number means both."""


class VAM:
    """The virtual attention in a network: every layer that has some.

    Args:
        network: a network that `insert_vam` was applied to, or a copy of one.

    Attributes:
        layers: dotted names, in the network's order.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3))
        >>> vam = insert_vam(network)
        >>> vam.layers, vam.attention()["1"].shape
        (('1',), torch.Size([4, 4]))
        >>> vam.fold()
        >>> VAM(network).layers
        ()
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    @property
    def layers(self) -> tuple[str, ...]:
        """Dotted names of the layers that have virtual attention now."""
        return tuple(name for name, _ in self._found())

    def parameters(self) -> list[nn.Parameter]:
        """The attention's logits, for a group of their own in an optimiser: see `kdlens.nn.parameter_groups`."""
        return [layer.vam_logits for _, layer in self._found()]

    def attention(self) -> dict[str, Float[Tensor, "r s"]]:
        """Return the rows of every layer, without gradient."""
        return {name: layer.attention().detach() for name, layer in self._found()}

    def entropy(self) -> Float[Tensor, ""]:
        """Return the mean over layers of the mean entropy of their rows, in nats: the H of the training loss.

        Raises:
            ModelError: the network has no virtual attention.
        """
        found = [(layer.vam_logits, layer.temperature) for _, layer in self._found()]
        if not found:
            raise ModelError("the network has no virtual attention; insert it first: kdlens.nn.insert_vam(network)")
        return mean_entropy(found)

    def set_temperature(self, value: float) -> None:
        """Set T in all layers.

        Raises:
            ConfigError: it is not positive.
        """
        for _, layer in self._found():
            layer.temperature = _positive(value)

    def fold(self) -> None:
        """Multiply the attention into the weights, for good: plain layers again, with the same output, at no cost."""
        for _, layer in list(self._found()):
            restore(layer, fold=True)

    def remove(self) -> None:
        """Take the attention out and leave the weights as they are."""
        for _, layer in list(self._found()):
            restore(layer, fold=False)

    def __repr__(self) -> str:
        return f"VAM({len(self.layers)} layers: {', '.join(self.layers)})"

    def _found(self) -> Iterator[tuple[str, VirtualAttention]]:
        for name, module in self.network.named_modules():
            if isinstance(module, VirtualAttention):
                yield name, module


def insert_vam(
    network: nn.Module,
    where: Where = "auto",
    *,
    blocks: Blocks = 4,
    block_size: Blocks | None = None,
    temperature: float = 1.0,
    rescale: bool = True,
    heads: bool = False,
) -> VAM:
    """Put virtual attention into a network's convolutions, in place.

    With `rescale`, the network computes exactly what it did before, until the attention is trained. Its state dict
    keeps all keys and gains one `vam_logits` a layer.

    Args:
        network: any network with `torch.nn.Conv2d`.
        where: `"auto"`: convolutions with a kernel larger than 1x1, except the first (it reads pixels) and depthwise
            ones; where a network has none of these, as those built of 1x1 and depthwise convolutions, its 1x1 ones.
            `"all"`: every convolution except the first and depthwise ones. Or dotted names of `Conv2d` and `Linear`
            layers, or a function of name and module that says yes to some.
        blocks: into how many groups inputs and outputs are split; `(inputs, outputs)` for different numbers. In a
            grouped convolution, each of its groups is split.
        block_size: channels of a group and of a block, in place of their numbers.
        temperature: T, positive.
        rescale: see above; False leaves responses smaller by the number of groups.
        heads: also the last linear layer; its classes must be divisible too.

    Returns:
        A handle that reads the attention, folds it into the weights, or removes it.

    Raises:
        ModelError: no layer to put it into, one that is depthwise, has attention already, computes in a way of its own
            (a subclass), or is used under two names.
        UnknownNameError: no layer of that name.
        ConfigError: channels that the blocks do not divide; the text names the layer.

    Source: Xue et al., KDExplainer (IJCAI 2021). Where it is placed there is not known; `where="auto"` is ours.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3))
        >>> images = torch.rand(1, 3, 8, 8)
        >>> before = network(images)
        >>> insert_vam(network, blocks=(2, 4))
        VAM(1 layers: 2)
        >>> torch.equal(network(images), before)
        True
    """
    if present := VAM(network).layers:
        raise ModelError(f'the network has virtual attention already, in "{present[0]}"; remove() or fold() it first')
    temperature = _positive(temperature)
    names = _choose(network, where, heads=heads)
    _check_used_once(network, names)
    planned = [(name, _split(network, name, blocks, block_size)) for name in names]
    for name, split in planned:  # all or none: every layer has been checked by now
        attend(network.get_submodule(name), split, temperature, rescale=rescale)
    return VAM(network)


def _choose(network: nn.Module, where: Where, *, heads: bool) -> list[str]:
    modules = dict(network.named_modules())
    if callable(where):
        chosen = [name for name, module in modules.items() if type(module) in ATTENDED and where(name, module)]
    elif isinstance(where, str):
        chosen = _by_rule(modules, where)
    else:
        chosen = list(dict.fromkeys(where))
    if heads:
        linear = [name for name, module in modules.items() if type(module) is nn.Linear]
        if not linear:
            raise ModelError("heads=True, but the network has no torch.nn.Linear")
        chosen += [name for name in linear[-1:] if name not in chosen]
    if not chosen:
        raise ModelError(f"no layer of {type(network).__name__} was chosen; name some: where=[...]")
    for name in chosen:
        _check_layer(name, modules)
    return chosen


def _by_rule(modules: dict[str, nn.Module], rule: str) -> list[str]:
    if rule not in ("auto", "all"):
        raise ConfigError(f'where is "auto", "all", a list of layer names or a function, not "{rule}"')
    convolutions = {name: module for name, module in modules.items() if type(module) is nn.Conv2d}
    if not convolutions:
        raise ModelError("the network has no torch.nn.Conv2d, where virtual attention would go; name linear layers")
    first = next(iter(convolutions))
    able = [name for name, module in convolutions.items() if name != first and not _depthwise(module)]
    spatial = [name for name in able if max(convolutions[name].kernel_size) > 1]
    if not able:
        raise ModelError("the network's only convolutions are its first and depthwise ones, which mix no channels")
    return spatial if spatial and rule == "auto" else able


def _check_layer(name: str, modules: dict[str, nn.Module]) -> None:
    if name not in modules:
        raise LayerNotFoundError(f'layer "{name}" not found{did_you_mean(name, modules)}')
    module = modules[name]
    if type(module) not in ATTENDED:
        known = " or ".join(f"torch.nn.{kind.__name__}" for kind in ATTENDED)
        raise ModelError(f'"{name}" is a {type(module).__name__}; virtual attention goes into {known} themselves')
    if isinstance(module, nn.Conv2d) and _depthwise(module):
        raise ModelError(f'"{name}" is depthwise: each output reads one channel, so there is nothing to weigh')


def _depthwise(module: nn.Conv2d) -> bool:
    return module.in_channels == module.groups


def _check_used_once(network: nn.Module, names: Sequence[str]) -> None:
    """A layer with two names has one attention for two places, and folding a shared weight would change both."""
    by_weight: dict[int, list[str]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        if isinstance(getattr(module, "weight", None), nn.Parameter):
            by_weight.setdefault(id(module.weight), []).append(name)
    for name in names:
        places = by_weight[id(network.get_submodule(name).weight)]
        if len(places) > 1:
            raise ModelError(
                f'"{name}" shares its weight with "{places[0] if places[0] != name else places[1]}"; '
                "leave it out, or give each place a layer of its own"
            )


def _split(network: nn.Module, name: str, blocks: Blocks, block_size: Blocks | None) -> tuple[int, int]:
    """How many groups of inputs and blocks of outputs a layer gets, within each group of its own."""
    layer = network.get_submodule(name)
    weight: Tensor = layer.weight  # type: ignore[assignment]
    channels = (weight.shape[1], weight.shape[0] // int(getattr(layer, "groups", 1)))
    asked = _pair(blocks if block_size is None else block_size, "blocks" if block_size is None else "block_size")
    for side, number, wanted in zip(("input", "output"), channels, asked, strict=True):
        if number % wanted:
            what = f"{wanted} blocks" if block_size is None else f"blocks of {wanted}"
            raise ConfigError(
                f'the {number} {side} channels of "{name}" cannot be divided into {what}; choose other '
                "blocks, or leave the layer out with where=[...]"
            )
    return asked if block_size is None else (channels[0] // asked[0], channels[1] // asked[1])


def _pair(value: Blocks, name: str) -> tuple[int, int]:
    both = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2 or not all(isinstance(number, int) and number >= 1 for number in both):
        raise ConfigError(f"{name} is a positive whole number or two of them, (inputs, outputs), not {value}")
    return both


def _positive(value: float) -> float:
    if check_temperature(value) == 0:
        raise ConfigError("the temperature of virtual attention must be positive, not 0")
    return float(value)
