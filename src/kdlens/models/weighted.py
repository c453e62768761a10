"""Which layer's weights stand for a layer that has none, such as a ReLU: those of the last layer before it."""

from collections.abc import Callable

from torch import nn

from kdlens.models.layers import resolve, split_call
from kdlens.models.wrappers import unwrap

Counts = Callable[[nn.Parameter], bool]


def any_parameter(_parameter: nn.Parameter) -> bool:
    """Every parameter counts, frozen ones, too."""
    return True


def layer_of_weights(network: nn.Module, name: str, counts: Counts = any_parameter) -> str | None:
    """Return the layer itself where it has parameters, otherwise the last one before it with a weight matrix.

    "Before" is the order in which the network was put together, as `named_modules()` gives it.

    Args:
        network: any network.
        name: dotted name of a layer; an ending `#k` is ignored.
        counts: which parameters count, e.g. those that are trained.

    Returns:
        A dotted name, or None where no layer before it has weights.

    Raises:
        LayerNotFoundError: the network has no such layer.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 8, 3), nn.ReLU())
        >>> layer_of_weights(net, "1"), layer_of_weights(net, "2"), layer_of_weights(nn.Sequential(nn.ReLU()), "0")
        ('0', '2', None)
    """
    module = resolve(network, name)
    if any(counts(parameter) for parameter in module.parameters()):
        return split_call(network, name)[0]
    before: str | None = None
    for other, candidate in unwrap(network).named_modules():
        if candidate is module:
            return before
        if other and is_weighted(candidate, counts):
            before = other
    return before


def is_weighted(module: nn.Module, counts: Counts = any_parameter) -> bool:
    """Whether a module without parts has a weight of two or more axes.

    Example:
        >>> is_weighted(nn.Linear(2, 2)), is_weighted(nn.BatchNorm2d(2)), is_weighted(nn.Sequential(nn.Linear(2, 2)))
        (True, False, False)
    """
    weight = getattr(module, "weight", None)
    matrix = isinstance(weight, nn.Parameter) and weight.dim() >= 2 and counts(weight)
    return matrix and not any(module.children())
