"""Images of a planted world, with votes, masks, and the same images without one cue."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.data.files import one_of
from kdlens.data.items import Item
from kdlens.data.planted.cues import Stamp, stamp
from kdlens.data.planted.draws import (
    Chance,
    canvases,
    corners_of,
    inks_of,
    order_of,
    shown_cues,
    votes_and_tasks,
)
from kdlens.data.planted.worlds import CLASSES, CUES, ROLES, WORLDS, Role, World
from kdlens.errors import DataError, did_you_mean

_SMALLEST = 32


class PlantedImages:
    """Images of a planted world: what a student can have from its teacher is known, and where.

    Test images hold all three cues, and each says what it knows. In the training images of a role, cues that its
    network must not learn say nothing about the label, and each cue is missing now and then. Image i depends on seed,
    role and i alone: not on the count.

    Args:
        world: a name from `WORLDS`, or a `World`.
        role: whose training images: `"teacher"`, `"student"` or `"baseline"`; None for test images.
        count: number of images.
        seed: of everything random.
        whole: whether all cues are there; by default in test images only.
        size: side length, at least 32; the cues grow with it.

    Attributes:
        images: in [0, 1].
        labels: of the role's task; of the student's in test images.
        tasks: labels per role. In additive worlds all are the same.
        votes: what the taught, the shared and the other cue say.
        shown: which cues are there.
        masks: where each cue is to be seen.
        classes: class names.

    Raises:
        DataError: an unknown world or role, a count below one, a size below 32, or cues that find no place.

    Example:
        >>> data = PlantedImages("columns", count=4)
        >>> data.images.shape, data.masks.shape, data.labels
        (torch.Size([4, 3, 32, 32]), torch.Size([4, 3, 32, 32]), tensor([0, 1, 2, 3]))
        >>> changed = (data.without("taught") != data.images).any(1)
        >>> bool(changed[data.masks[:, 0]].all()), bool(changed[data.masks[:, 1:].any(1)].any())
        (True, False)
    """

    name = "planted"
    mean = (0.45, 0.45, 0.45)
    std = (0.25, 0.25, 0.25)

    def __init__(
        self,
        world: str | World,
        role: Role | None = None,
        *,
        count: int = 2000,
        seed: int = 0,
        whole: bool | None = None,
        size: int = 32,
    ) -> None:
        self.world = _known_world(world)
        _check_options(role, count, size)
        self.role, self.size, self.seed = role, size, seed
        self.classes = [f"class {k}" for k in range(CLASSES)]
        chance = Chance(seed, role)
        self.votes, self.tasks = votes_and_tasks(self.world, role, count, chance)
        self.labels = self.tasks[role or "student"]
        self.shown = shown_cues(count, role is None if whole is None else whole, chance)
        self._stamps = [stamp(cue, size / 32) for cue in self.world.cues]
        self._canvas = canvases(self.world, role, count, size, chance)
        self._corners = corners_of(self.world, [s.size for s in self._stamps], count, size, chance)
        self._inks = inks_of(count, chance)
        self._order = order_of(count, chance)
        self.images, self.masks = self._render(self.shown, torch.arange(count))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        """The image, its label, and the mask of the taught cue."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} images; there is no image {index}")
        return Item(self.images[index], int(self.labels[index]), self.masks[index, 0])

    def gather(
        self, indices: Int[Tensor, " m"]
    ) -> tuple[Float[Tensor, "m 3 h w"], Int[Tensor, " m"], Bool[Tensor, "m h w"]]:
        """Many items at once: images in [0, 1], labels, masks of the taught cue."""
        return self.images[indices], self.labels[indices], self.masks[indices, 0]

    def without(self, cue: str, indices: Int[Tensor, " m"] | None = None) -> Float[Tensor, "m 3 h w"]:
        """The same images without exactly that cue: what lies behind it is to be seen.

        Args:
            cue: `"taught"`, `"shared"` or `"other"`.
            indices: of the images; all by default.

        Raises:
            DataError: there is no such cue.
        """
        one_of(cue, CUES, "cue", self.name)
        shown = self.shown.clone()
        shown[:, CUES.index(cue)] = False
        return self._render(shown, torch.arange(len(self)) if indices is None else indices)[0]

    def normalised(self, images: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "m 3 h w"]:
        """Images in [0, 1] as networks take them: less `mean`, over `std`."""
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std

    def _render(self, shown: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        images = self._canvas[index]
        masks = torch.zeros(len(index), len(CUES), self.size, self.size, dtype=torch.bool)
        for turn in range(len(CUES)):
            for k, mark in enumerate(self._stamps):
                rows = ((self._order[index, turn] == k) & shown[index, k]).nonzero().flatten()
                self._put(mark, k, rows, index[rows], images, masks)
        return images, masks

    def _put(self, mark: Stamp, k: int, rows: Tensor, index: Tensor, images: Tensor, masks: Tensor) -> None:
        """Stamp cue k on some rows of the images, in place; `index` says which images they are."""
        votes, side = self.votes[index, k], torch.arange(mark.size)
        inks = self._inks[index, k] if mark.inks is None else mark.inks[votes]
        first, cover = mark.first[votes][..., None], mark.cover[votes][..., None]
        ink = first * inks[:, 0, None, None] + (1 - first) * inks[:, 1, None, None]
        y = self._corners[index, k, 0][:, None, None] + side[:, None]
        x = self._corners[index, k, 1][:, None, None] + side
        there = (rows[:, None, None], slice(None), y, x)
        images[there] = (1 - cover) * images[there] + cover * ink
        masks[there] &= cover < 0.5
        masks[rows[:, None, None], k, y, x] |= cover[..., 0] >= 0.5


def load(
    split: str = "test",
    *,
    world: str | World = "scenes",
    role: Role | None = None,
    count: int = 2000,
    seed: int = 0,
    size: int = 32,
) -> PlantedImages:
    """Planted images as `kdlens.load_dataset("planted")` gives them.

    Args:
        split: `"test"`, or `"train"` for the training images of a role.
        world: a name from `WORLDS`, or a `World`.
        role: whose training images; the student's by default. Test images have none.
        count: number of images.
        seed: of everything random.
        size: side length.

    Raises:
        DataError: an option is out of its range.

    Example:
        >>> load("train", world="columns", role="baseline", count=8).role
        'baseline'
    """
    one_of(split, ("train", "test"), "split", "planted")
    if split == "test" and role is not None:
        raise DataError(f'planted test images are the same for every role; ask for split="train" for the {role}')
    return PlantedImages(world, (role or "student") if split == "train" else None, count=count, seed=seed, size=size)


def _known_world(world: str | World) -> World:
    if isinstance(world, World):
        return world
    if world not in WORLDS:
        raise DataError(
            f'there is no world "{world}"{did_you_mean(str(world), WORLDS) or "."} Known: {", ".join(WORLDS)}'
        )
    return WORLDS[world]


def _check_options(role: str | None, count: int, size: int) -> None:
    if role is not None:
        one_of(role, ROLES, "role", "planted")
    if count < 1:
        raise DataError(f"planted: cannot make {count} images; ask for at least one")
    if size < _SMALLEST:
        raise DataError(f"planted: images of {size} pixels are too small for three cues; use at least {_SMALLEST}")
