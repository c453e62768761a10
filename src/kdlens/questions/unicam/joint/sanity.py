"""A sanity check: a map that does not change when the network forgets what it learned does not show what it learned."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.questions.context import Subject
from kdlens.questions.unicam.study_maps import StudyMaps


def shuffled(subject: Subject, *, seed: int) -> Subject:
    """The network with the entries of every weight tensor in random order; the original is not touched.

    Example:
        >>> twin = shuffled(Subject("kd", "student", torch.nn.Linear(4, 2), ()), seed=0)
        >>> twin.name, twin.network.weight.shape
        ('kd', torch.Size([2, 4]))

    Source: model parameter randomisation, Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
    """
    network = copy.deepcopy(subject.network)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return Subject(subject.name, subject.role, network, subject.layers, subject.seed)


def likeness(first: Float[Tensor, "n h w"], second: Float[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Correlation of two maps of each image over its pixels; NaN where one is constant."""
    a, b = (maps.flatten(1) - maps.flatten(1).mean(1, keepdim=True) for maps in (first, second))
    size = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(size > 0, (a * b).sum(1) / size, torch.nan)


def likeness_when_forgotten(maps: StudyMaps, student: Subject, *, seed: int) -> Tensor:
    """Correlation of a student's own maps with those it has when its weights are shuffled, `(n,)`.

    Of its own maps, not of the distilled ones: those also hold the baseline's, which stay.
    """
    return likeness(maps.whole(student, None), maps.whole(shuffled(student, seed=seed), None))
