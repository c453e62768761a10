"""One trial of the benchmark: what each method makes of one world, seed and direction."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from kdlens.bench import METHODS
from kdlens.bench.cases import Case
from kdlens.bench.scoring import Score, score
from kdlens.bench.triples import Triple
from kdlens.bench.truth import removal_effects, shares_of, temperature_of
from kdlens.data.planted import CUES, PlantedImages
from kdlens.data.planted.worlds import Role
from kdlens.errors import ModelError

Direction = Literal["distilled", "residual"]
"""What the student has beyond the baseline, or the reverse."""

DIRECTIONS: dict[Direction, tuple[Role, str]] = {"distilled": ("student", "taught"), "residual": ("baseline", "other")}
"""Whose maps a direction has, and the cue that they should show in an additive world."""

_REFERENCE = 400
_SEEDS = {"images": 1000, "reference": 2000}


@dataclass(frozen=True)
class Trial:
    """One method on one world, seed and direction.

    Attributes:
        world: name of the world.
        seed: of networks and images.
        direction: which network is explained.
        method: name of the method.
        score: how well it did.
        measured: shares of the cues in the measured effects of removing them, all images together.
    """

    world: str
    seed: int
    direction: Direction
    method: str
    score: Score
    measured: Float[Tensor, " 3"]


def trials_of(world: str, seed: int, triple: Triple, methods: Sequence[str], images: int) -> Iterator[Trial]:
    """Both directions and all methods on one world.

    Args:
        world: name of the world.
        seed: of the images.
        triple: the networks.
        methods: names from `METHODS`.
        images: number of images.

    Raises:
        ModelError: a method gives no maps.
    """
    data = PlantedImages(world, count=4 * images + 64, seed=_SEEDS["images"] + seed)
    reference = PlantedImages(world, count=_REFERENCE, seed=_SEEDS["reference"] + seed)
    temperatures = {
        "student": temperature_of(triple.student, reference, reference.tasks["student"]),
        "baseline": temperature_of(triple.baseline, reference, reference.tasks["baseline"]),
    }
    chosen = _telling(data)[:images]
    for direction, (role, cue) in DIRECTIONS.items():
        case = _case(triple, role, data, chosen, reference, seed)
        pair = (temperatures["student"], temperatures["baseline"])
        pair = pair if role == "student" else (pair[1], pair[0])
        effects = removal_effects(case.model, case.given, data, chosen, case.labels, pair)
        if data.world.kind == "additive":
            truth = F.one_hot(torch.tensor(CUES.index(cue)), len(CUES)).float().expand(len(chosen), -1)
        else:
            truth = shares_of(effects)
        measured = shares_of(effects.clamp(min=0).mean(0))
        for name in methods:
            yield Trial(world, seed, direction, name, score(_maps(name, case), data.masks[chosen], truth), measured)


def _telling(data: PlantedImages) -> Tensor:
    """Images that can be scored: those on which all cues speak for the class.

    In interacting worlds that are those on which the two tasks agree; elsewhere the networks speak of different things.
    """
    if data.world.kind == "additive":
        return (data.votes == data.labels[:, None]).all(1).nonzero().flatten()
    return (data.tasks["student"] == data.tasks["baseline"]).nonzero().flatten()


def _case(triple: Triple, role: Role, data: PlantedImages, chosen: Tensor, reference: PlantedImages, seed: int) -> Case:
    student = role == "student"
    agreed = slice(None) if reference.world.kind == "additive" else _telling(reference)  # one task for both networks
    return Case(
        model=triple.student if student else triple.baseline,
        given=triple.baseline if student else triple.student,
        images=data.normalised(data.images[chosen]),
        labels=data.tasks[role][chosen],
        reference=(data.normalised(reference.images[agreed]), reference.tasks[role][agreed]),
        others=triple.others if student else triple.other_students,
        seed=seed,
    )


def _maps(name: str, case: Case) -> Tensor:
    maps = METHODS[name](case)
    size = (len(case.images), *case.images.shape[2:])
    if not isinstance(maps, Tensor) or tuple(maps.shape) != size:
        given = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ModelError(f'method "{name}" gives {given}; maps {size}, one for each image, were expected')
    if not torch.isfinite(maps).all():
        raise ModelError(f'method "{name}" gives maps that hold NaN or infinite values')
    return maps.detach().float().cpu()
