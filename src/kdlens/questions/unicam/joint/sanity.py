"""A sanity check: a map that does not change when the network forgets what it learned does not show what it learned.

The network forgets from its head to its input: first the weights after the last layer are shuffled, then those of the
last stage as well, and so on until nothing is left. A map that looks at the network changes; one that traces the edges
of the image stays.
"""

import copy
from collections.abc import Collection, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.models.device import device_of
from kdlens.models.trace import trace
from kdlens.models.wrappers import unwrap
from kdlens.questions.context import Subject
from kdlens.questions.unicam.study_maps import StudyMaps

HEAD = "head"
"""Name of the stage after the last layer."""


class Step(NamedTuple):
    """One step of the cascade.

    Attributes:
        stage: the last stage whose weights were shuffled; all later ones are, too.
        signed: `(n,)` correlation of the signed maps with the real ones.
        strength: `(n,)` rank correlation of how strong the maps are, whatever their sign.
    """

    stage: str
    signed: Float[Tensor, " n"]
    strength: Float[Tensor, " n"]


def cascade(maps: StudyMaps, student: Subject, *, example: Float[Tensor, "1 c h w"], seed: int) -> Iterator[Step]:
    """Likeness of a student's own maps to those it has when more and more of its weights are shuffled.

    Of its own maps, not of the distilled ones: those also hold the baseline's, which stay. There is one step a stage,
    from the head to the input, at most one more than the student has layers; a stage without weights has none.

    Args:
        maps: draws its maps.
        student: comes back as it was.
        example: one image, to see in which order weights are used.
        seed: of the orders.

    Source: cascading randomisation, Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018, section 4.1.
    """
    real, names = maps.whole(student, None), set[str]()
    for stage, of_stage in reversed(stages_of(student, example).items()):
        names |= of_stage
        other = maps.own(shuffled(student, seed=seed, names=names))
        yield Step(stage, likeness(real, other), likeness(ranked(real.abs()), ranked(other.abs())))


def by_chance(maps: StudyMaps, student: Subject) -> Step:
    """What a student's maps of one image have in common with those of the next, whatever the images show."""
    real = maps.whole(student, None)
    ranks = ranked(real.abs())
    return Step("", likeness(real, real.roll(1, 0)), likeness(ranks, ranks.roll(1, 0)))


def stages_of(subject: Subject, example: Float[Tensor, "1 c h w"]) -> dict[str, set[str]]:
    """Names of the parameters of every stage, from the input to the head: a stage ends where a layer does.

    Example:
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2, bias=False))
        >>> stages_of(Subject("kd", "student", net, ("0",)), torch.zeros(1, 3, 8, 8))["head"]
        {'2.weight'}
    """
    network = unwrap(subject.network)
    calls = list(trace(network, example.to(device_of(network)).float()).walk())
    ends = {f"{call.name}#{call.index}": place + len(list(call.walk())) for place, call in enumerate(calls)}
    used = {
        call.name: place for place, call in enumerate(calls)
    }  # a module called twice counts where it is called last
    borders = {layer: ends.get(layer, ends.get(f"{layer}#0", 0)) for layer in subject.layers}
    found: dict[str, set[str]] = {layer: set() for layer in (*subject.layers, HEAD)}
    for name, _ in network.named_parameters():
        place = _used(used, name)
        found[next((layer for layer, end in borders.items() if place < end), HEAD)].add(name)
    return {stage: names for stage, names in found.items() if names}


def shuffled(subject: Subject, *, seed: int, names: Collection[str] | None = None) -> Subject:
    """The network with the entries of every weight tensor in random order; the original is not touched.

    Args:
        subject: the network.
        seed: of the orders; that of a tensor is the same whichever others are shuffled.
        names: of the parameters to shuffle; all by default.

    Example:
        >>> twin = shuffled(Subject("kd", "student", torch.nn.Linear(4, 2), ()), seed=0)
        >>> twin.name, twin.network.weight.shape
        ('kd', torch.Size([2, 4]))

    Source: model parameter randomisation, Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
    """
    network = copy.deepcopy(subject.network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in unwrap(network).named_parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            if names is None or name in names:
                parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return Subject(subject.name, subject.role, network, subject.layers, subject.seed)


def likeness(first: Float[Tensor, "n h w"], second: Float[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Correlation of two maps of each image over its pixels; NaN where one is constant."""
    a, b = (maps.flatten(1) - maps.flatten(1).mean(1, keepdim=True) for maps in (first, second))
    size = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(size > 0, (a * b).sum(1) / size, torch.nan)


def ranked(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Each pixel's place among those of its map, from 0; equal pixels share their mean place.

    Example:
        >>> ranked(torch.tensor([[[0.2, 0.1], [0.7, 0.2]]]))
        tensor([[[1.5000, 0.0000],
                 [3.0000, 1.5000]]])
    """
    flat = maps.flatten(1).contiguous()
    ordered = flat.sort(dim=1).values
    below = torch.searchsorted(ordered, flat)
    upto = torch.searchsorted(ordered, flat, right=True)
    return ((below + upto - 1) / 2).view_as(maps)


def _used(used: dict[str, int], name: str) -> int:
    """When a parameter is used: when its module is called, or else the nearest one around it that is."""
    holder = name.rpartition(".")[0]
    while holder and holder not in used:
        holder = holder.rpartition(".")[0]
    return used.get(holder, 0)
