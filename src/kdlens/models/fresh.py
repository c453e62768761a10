"""The same architecture with other first weights, from a network alone."""

import copy
from collections.abc import Callable

import torch
from torch import nn

from kdlens.errors import ModelError
from kdlens.models.wrappers import unwrap


def fresh_copy(model: nn.Module, seed: int) -> nn.Module:
    """Copy a network and draw all its weights anew, each layer by its own `reset_parameters`.

    The copy lies on the CPU; the global random state is not touched. What the network's own constructor initialises in
    another way starts by the layers' defaults instead.

    Raises:
        ModelError: a parameter or buffer that no layer knows how to draw, such as a class token.

    Example:
        >>> network = nn.Linear(3, 2)
        >>> fresh = fresh_copy(network, 0)
        >>> fresh.weight.equal(fresh_copy(network, 0).weight), fresh.weight.equal(network.weight)
        (True, False)
    """
    fresh = copy.deepcopy(unwrap(model)).cpu()
    draw_anew(fresh, seed)
    for parameter in fresh.parameters():
        parameter.requires_grad_(True)
    return fresh


def draw_anew(
    network: nn.Module,
    seed: int,
    *,
    keep: Callable[[nn.Module], bool] = lambda module: False,
    then: Callable[[nn.Module], None] = lambda module: None,
) -> None:
    """Draw the weights of a network on the CPU anew, in place; the global random state is not touched.

    Args:
        network: it is changed.
        seed: decides the weights.
        keep: modules whose own parameters stay as they are.
        then: called with every module that was drawn, to initialise it in another way.

    Raises:
        ModelError: as for `fresh_copy`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in network.named_modules():
            if keep(module):
                continue
            reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
                then(module)
            elif any(True for _ in module.parameters(recurse=False)):
                raise ModelError(
                    f'"{name}" ({type(module).__name__}) has parameters and no reset_parameters(), so its first '
                    "weights cannot be drawn again; write one, or give build, a function from a seed to a network with "
                    "new weights, where that can be given"
                )
