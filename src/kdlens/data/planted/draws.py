"""What chance decides about planted images. Image i depends on the seed, the role and i alone, not on the count."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.data.planted.worlds import CLASSES, CUES, KNOWN, MISSING, RELIABILITY, ROLES, Role, World
from kdlens.data.scenes import FashionScenes
from kdlens.errors import DataError

_SUBJECTS = ("votes", "missing", "canvas", "noise", "inks", "order", "places")
_POOL = {"train": 6000, "test": 2000}  # scenes to draw from, each garment once
_APART = 2  # pixels of 32 between scattered cues
_ROUNDS = 200


class Chance:
    """Random numbers of one set of images, a stream of its own for each subject.

    Args:
        seed: of everything.
        role: whose training images; None for test images.
    """

    def __init__(self, seed: int, role: Role | None) -> None:
        self._key = (abs(seed), int(seed < 0), 0 if role is None else 1 + ROLES.index(role))

    def stream(self, subject: str, attempt: int = 0) -> np.random.Generator:
        """Random numbers for a subject; longer sequences start with the shorter ones."""
        key = (*self._key, _SUBJECTS.index(subject), attempt)
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))

    def uniform(self, subject: str, *shape: int, attempt: int = 0) -> Tensor:
        """Random numbers in [0, 1), a row an image."""
        return torch.from_numpy(self.stream(subject, attempt).random(shape))


class Told(NamedTuple):
    """What the cues say, and the right answers.

    Attributes:
        votes: what each cue says.
        tasks: label per role.
    """

    votes: Int[Tensor, "n 3"]
    tasks: dict[Role, Int[Tensor, " n"]]


def votes_and_tasks(world: World, role: Role | None, count: int, chance: Chance) -> Told:
    """What the cues say in the training images of a role (in test images, where it is None), and the labels.

    In an additive world, cues that the role must not learn say anything. In an interacting one its labels do not depend
    on them.
    """
    draws = chance.uniform("votes", count, 3, 2)
    anything = (draws[..., 0] * world.votes).long()
    if world.kind == "interacting":
        taught, shared, other = anything.unbind(1)
        mine, theirs = 2 * shared + taught, 2 * shared + other
        return Told(anything, {"teacher": mine, "student": mine, "baseline": theirs})
    labels = torch.arange(count) % CLASSES
    wrong = (labels[:, None] + 1 + (draws[..., 0] * (CLASSES - 1)).long()) % CLASSES
    informed = torch.where(draws[..., 1] < RELIABILITY, labels[:, None], wrong)
    known = torch.tensor([role is None or cue in KNOWN[role] for cue in CUES])
    return Told(torch.where(known, informed, anything), dict.fromkeys(ROLES, labels))


def shown_cues(count: int, whole: bool, chance: Chance) -> Bool[Tensor, "n 3"]:
    """Which cues are there."""
    if whole:
        return torch.ones(count, 3, dtype=torch.bool)
    return chance.uniform("missing", count, 3) >= MISSING


def canvases(world: World, role: Role | None, count: int, size: int, chance: Chance) -> Float[Tensor, "n 3 h w"]:
    """What the cues lie on; it says nothing about the class."""
    which = chance.uniform("canvas", count)
    if world.canvas == "plain":
        noise = torch.from_numpy(chance.stream("noise").standard_normal((count, 3, size, size), dtype=np.float32))
        return (0.35 + 0.2 * which.float().view(-1, 1, 1, 1) + 0.06 * noise).clamp(0, 1)
    split = "test" if role is None else "train"
    pool = FashionScenes(split, size=size, count=_POOL[split])
    index, place = (which * _POOL[split]).long().unique(return_inverse=True)
    return 0.25 + 0.4 * pool.gather(index)[0][place]  # paler than the cues


def inks_of(count: int, chance: Chance) -> Float[Tensor, "n 3 2 3"]:
    """A light and a dark ink for each cue."""
    draws = chance.uniform("inks", count, 3, 2, 3).float()
    return torch.stack([0.75 + 0.25 * draws[:, :, 0], 0.2 * draws[:, :, 1]], 2)


def order_of(count: int, chance: Chance) -> Int[Tensor, "n 3"]:
    """In which order the cues are stamped; later ones lie on top."""
    return chance.uniform("order", count, 3).argsort(1)


def corners_of(world: World, sizes: Sequence[int], count: int, size: int, chance: Chance) -> Int[Tensor, "n 3 2"]:
    """Row and column of each cue's top left pixel.

    Raises:
        DataError: no place was found for the cues.
    """
    widths = torch.tensor(sizes)
    draws = chance.uniform("places", count, 3, 2)
    if world.place == "columns":
        third = size // 3
        room = torch.stack([size - widths, (third - widths).clamp_min(0)], 1) + 1
        start = torch.stack([torch.zeros(3, dtype=torch.int64), third * torch.arange(3)], 1)
        return start + (draws * room).long()
    corners = (draws * (size - widths + 1)[:, None]).long()
    for attempt in range(1, _ROUNDS):
        bad = _too_close(world, corners, widths, size / 32)
        if not bad.any():
            return corners
        again = (chance.uniform("places", count, 3, 2, attempt=attempt) * (size - widths + 1)[:, None]).long()
        corners = torch.where(bad[:, None, None], again, corners)
    raise DataError(f"found no place for cues of {list(sizes)} pixels in images of {size} x {size}; use smaller cues")


def _too_close(world: World, corners: Tensor, widths: Tensor, scale: float) -> Tensor:
    """Whether any two cues touch; where they may overlap, whether they hide too much of each other."""
    middles = corners + widths[:, None] / 2
    bad = torch.zeros(len(corners), dtype=torch.bool)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        apart = (middles[:, a] - middles[:, b]).abs()
        reach = (widths[a] + widths[b]) / 2
        least = reach + _APART * scale if world.place == "scattered" else 0.5 * reach
        bad |= (apart < least).all(1)
    return bad
