"""Wrappers around a network (DataParallel, DistributedDataParallel, torch.compile, ...) and what is inside them."""

from collections.abc import Iterator

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

_HOLDERS = (DataParallel, DistributedDataParallel, AveragedModel)
_INNER_NAMES = ("_orig_mod", "_fsdp_wrapped_module")  # torch.compile and FSDP; no ordinary network has such children


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside DataParallel, DistributedDataParallel, AveragedModel, FSDP or torch.compile.

    Wrappers around wrappers are opened, too. A module of another kind that merely has a child called `module` is kept:
    it may change its input on the way.

    Example:
        >>> net = nn.Linear(2, 1)
        >>> unwrap(nn.DataParallel(net)) is net
        True
    """
    *_, innermost = (model, *_chain(model))
    return innermost


def wrappers(model: nn.Module) -> list[nn.Module]:
    """Return the wrappers around the network, outermost first; empty for a bare network."""
    return [model, *_chain(model)][:-1]


def _chain(model: nn.Module) -> Iterator[nn.Module]:
    inner = _inner(model)
    while inner is not None:
        yield inner
        inner = _inner(inner)


def _inner(model: nn.Module) -> nn.Module | None:
    names = ["module"] if isinstance(model, _HOLDERS) or _looks_parallel(model) else []
    names += [name for name in _INNER_NAMES if name in model._modules]
    return model._modules[names[0]] if names else None


def _looks_parallel(model: nn.Module) -> bool:
    """Whether this is the parallel wrapper of another library: they all are called so and hold `module` alone."""
    return "Parallel" in type(model).__name__ and list(model._modules) == ["module"]
