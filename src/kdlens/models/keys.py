"""Fit the keys of a file to the keys of a network: prefixes of wrappers, missing and unexpected keys, shapes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "_fsdp_wrapped_module.")


@dataclass(frozen=True)
class Fit:
    """How the tensors of a file fit a network.

    Attributes:
        usable: tensors by the network's key.
        missing: keys of the network that the file lacks.
        unexpected: keys of the file that the network lacks.
        mismatched: keys with another shape, with both shapes.
        prefix: what was taken off the file's keys.
        problem: all that is wrong, as text; empty if nothing is.
    """

    usable: dict[str, Tensor]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]
    prefix: str
    problem: str


def fit_keys(network: nn.Module, tensors: Mapping[str, Tensor]) -> Fit:
    """Fit the tensors of a file to a network.

    Example:
        >>> import torch
        >>> fit = fit_keys(nn.Linear(2, 1), {"module.weight": torch.zeros(1, 2), "module.scale": torch.zeros(1)})
        >>> fit.prefix, fit.missing, fit.unexpected
        ('module.', ('bias',), ('module.scale',))
    """
    own = {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}
    prefix = _best_prefix(tensors, own)
    found = {name.removeprefix(prefix): name for name in tensors if name.startswith(prefix)}
    common = [name for name in own if name in found]
    usable = {name: tensors[found[name]] for name in common if tensors[found[name]].shape == own[name].shape}
    missing = tuple(name for name in own if name not in found and not name.endswith("num_batches_tracked"))
    unexpected = tuple(name for name in tensors if not name.startswith(prefix) or name.removeprefix(prefix) not in own)
    differing = {
        name: (tuple(tensors[found[name]].shape), tuple(own[name].shape)) for name in common if name not in usable
    }
    mismatched = tuple(
        f"{name}: {theirs} in the file, {ours} in the network" for name, (theirs, ours) in differing.items()
    )
    problem = _class_problem(differing) if not missing and not unexpected else ""
    problem = problem or _problem(own, tensors, missing, unexpected, mismatched)
    return Fit(usable, missing, unexpected, mismatched, prefix, problem)


def _best_prefix(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The stack of wrapper prefixes that makes most keys fit; the shortest of equals."""
    candidates = dict.fromkeys(["", *(prefix for name in tensors for prefix in _stacks(name))])

    def hits(prefix: str) -> int:
        return sum(name.startswith(prefix) and name.removeprefix(prefix) in own for name in tensors)

    return max(candidates, key=lambda prefix: (hits(prefix), -len(prefix)))


def _stacks(name: str) -> Iterator[str]:
    """`module.model.conv.weight` gives `module.` and `module.model.`."""
    taken = ""
    while True:
        part = next((p for p in PREFIXES if name.startswith(taken + p)), None)
        if part is None:
            return
        taken += part
        yield taken


def _class_problem(differing: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> str:
    """Say it plainly when only the number of classes differs: linear layers, in the first axis of their weights."""
    shapes = list(differing.values())
    counts = {(theirs[0], ours[0]) for theirs, ours in shapes if theirs and ours}
    linear = all(theirs[1:] == ours[1:] and len(ours) <= 2 for theirs, ours in shapes)
    if len(counts) != 1 or not linear:
        return ""
    [(theirs, ours)] = counts
    layer = next(iter(differing)).rpartition(".")[0]
    return (
        f'the file has {theirs} classes and the network {ours} (layer "{layer}"); '
        f"build the network with classes={theirs}, or use weights trained for {ours} classes"
    )


def _problem(
    own: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    missing: tuple[str, ...],
    unexpected: tuple[str, ...],
    mismatched: tuple[str, ...],
) -> str:
    if len(unexpected) == len(tensors) and own:
        return (
            f"none of the file's {len(tensors)} keys ({_some(tensors)}) is among the network's {len(own)} "
            f"({_some(own)}); it was made by another architecture"
        )
    parts = {"missing in the file": missing, "not in the network": unexpected, "of another shape": mismatched}
    return "; ".join(f"{len(names)} {what}: {', '.join(names)}" for what, names in parts.items() if names)


def _some(names: Mapping[str, Tensor]) -> str:
    return ", ".join(list(names)[:3]) + (", ..." if len(names) > 3 else "")
