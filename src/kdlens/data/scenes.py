"""fashion-scenes: a tinted garment on a textured background, with everything about every pixel known exactly."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from kdlens.data.fashion import FASHION_CLASSES, embedded_pixels
from kdlens.data.files import one_of
from kdlens.data.items import Item
from kdlens.data.render import COLOURS, DRAWS, FABRIC, Plan, Rendered, render
from kdlens.data.textures import TEXTURES
from kdlens.errors import DataError, did_you_mean

_SPLITS = ("train", "test")
_CACHE_BYTES = 512 * 1024**2
_BLOCK = 64  # scenes rendered together when one is asked for


class Scene(NamedTuple):
    """All there is to know about one scene.

    Attributes:
        image: `(3, H, W)` float32 in [0, 1].
        label: class index.
        mask: `(H, W)` bool, the garment.
        colours: `(H, W)` int64 into `FashionScenes.colour_names`.
        textures: `(H, W)` int64 into `FashionScenes.texture_names`.
        background: `(3, H, W)` the scene without the garment; equal to the image outside the mask.
    """

    image: Tensor
    label: int
    mask: Tensor
    colours: Tensor
    textures: Tensor
    background: Tensor


class FashionScenes:
    """Colour scenes made from the embedded garments, for ground truth about object, background, colour and texture.

    A garment is tinted, scaled, mirrored and placed on a background of two inks in one of ten textures. With the chance
    `bias` the texture is the one that belongs to the class, otherwise it is any of the ten, all equally likely.
    Colours, size and place say nothing about the class. Scene i depends on the seed, the split and i alone: not on the
    count; and under another bias it differs in its texture only.

    Args:
        split: `"train"` (6,000 garments) or `"test"` (2,000 others).
        size: side length in pixels.
        bias: in [0, 1], the chance that the background follows the class.
        seed: of everything random.
        classes: names of the classes to use, in the order of their labels; all ten by default.
        count: number of scenes; by default each garment once. A larger number uses garments again in new scenes.
        tint: give garments one of eight colours; otherwise they stay white.

    Attributes:
        classes: class names.
        labels: `(n,)` int64.
        colour_names: names for `Scene.colours`.
        texture_names: names for `Scene.textures`; the first ten are the backgrounds in the order of the ten classes,
            the last stands for the garment itself.

    Raises:
        DataError: an option is out of its range.

    Example:
        >>> data = FashionScenes("test", bias=1.0, classes=["Dress", "Sneaker"], count=8)
        >>> scene = data.scene(1)
        >>> data.classes[scene.label], data.texture_names[scene.textures[~scene.mask].unique().item()]
        ('Sneaker', 'bricked')
        >>> bool((scene.image == scene.background)[:, ~scene.mask].all())
        True
    """

    name = "fashion-scenes"
    mean = (0.54, 0.50, 0.49)
    std = (0.23, 0.18, 0.20)
    colour_names: ClassVar[list[str]] = list(COLOURS)
    texture_names: ClassVar[list[str]] = [*TEXTURES, FABRIC]

    def __init__(
        self,
        split: str = "test",
        *,
        size: int = 32,
        bias: float = 0.0,
        seed: int = 0,
        classes: Sequence[str] | None = None,
        count: int | None = None,
        tint: bool = True,
    ) -> None:
        one_of(split, _SPLITS, "split", self.name)
        _check_options(size, bias, count)
        self.split, self.size, self.bias, self.seed, self.tint = split, size, bias, seed, tint
        self.classes = _known_classes(classes)
        wanted = np.array([FASHION_CLASSES.index(name) for name in self.classes])
        self._rows = _rows_of(wanted, len(embedded_pixels(split)), count)
        kinds = self._rows % len(FASHION_CLASSES)
        self.labels = torch.from_numpy((kinds[:, None] == wanted).argmax(1))
        self._draws = _draws(seed, split, int(self._rows.max()) + 1)[self._rows]
        self._images: UInt8[Tensor, "n 3 h w"] | None = None
        self._masks: Bool[Tensor, "n h w"] | None = None
        self._done = torch.zeros(len(self), dtype=torch.bool)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Item:
        start = self._checked(index) // _BLOCK * _BLOCK
        block = torch.arange(start, min(start + _BLOCK, len(self))) if self._cached else torch.tensor([index])
        images, masks = self._pixels(block)
        place = index - start if self._cached else 0
        return Item(images[place].float() / 255, int(self.labels[index]), masks[place])

    def gather(
        self, indices: Int[Tensor, " m"]
    ) -> tuple[Float[Tensor, "m 3 h w"], Int[Tensor, " m"], Bool[Tensor, "m h w"]]:
        """Many items at once: images in [0, 1], labels, masks."""
        images, masks = self._pixels(indices)
        return images.float() / 255, self.labels[indices], masks

    def scene(self, index: int) -> Scene:
        """Everything about one scene."""
        index = self._checked(index)
        [rendered] = self.rendered(torch.tensor([index]))
        return Scene(
            image=rendered.images[0].float() / 255,
            label=int(self.labels[index]),
            mask=rendered.masks[0],
            colours=rendered.colours[0].long(),
            textures=rendered.textures[0].long(),
            background=rendered.backgrounds[0].float() / 255,
        )

    @property
    def background_textures(self) -> Int[Tensor, " n"]:
        """Which texture lies behind each garment, `(n,)` int64 into `texture_names`; nothing is rendered for it."""
        return torch.from_numpy(self._plan(torch.arange(len(self))).textures)

    @property
    def _cached(self) -> bool:
        return len(self) * 4 * self.size**2 <= _CACHE_BYTES

    def _pixels(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        if not self._cached:
            parts = list(self.rendered(indices))
            return torch.cat([p.images for p in parts]), torch.cat([p.masks for p in parts])
        if self._images is None or self._masks is None:
            self._images = torch.empty(len(self), 3, self.size, self.size, dtype=torch.uint8)
            self._masks = torch.empty(len(self), self.size, self.size, dtype=torch.bool)
        missing = indices[~self._done[indices]].unique()
        start = 0
        for part in self.rendered(missing) if len(missing) else ():
            there = missing[start : start + len(part.images)]
            self._images[there], self._masks[there], self._done[there] = part.images, part.masks, True
            start += len(there)
        return self._images[indices], self._masks[indices]

    def rendered(self, indices: Int[Tensor, " m"]) -> Iterator[Rendered]:
        """Everything about many scenes, a few at a time."""
        step = max(1, 2**18 // self.size**2)  # pixels at a time, so that the arrays stay in the processor's cache
        for part in indices.split(step):
            yield render(self._plan(part), self.size)

    def _plan(self, indices: Tensor) -> Plan:
        rows = self._rows[indices.numpy()]
        garments = embedded_pixels(self.split)[torch.from_numpy(rows % len(embedded_pixels(self.split)))]
        kinds = rows % len(FASHION_CLASSES)
        return Plan(garments, kinds, self._draws[indices.numpy()], self.bias, self.tint)

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} scenes; there is no scene {index}")
        return index


def _check_options(size: int, bias: float, count: int | None) -> None:
    if size < 8:
        raise DataError(f"fashion-scenes: size {size} is too small to show a garment; use at least 8")
    if not 0 <= bias <= 1:
        raise DataError(f"fashion-scenes: bias {bias} is a chance; it must lie in [0, 1]")
    if count is not None and count < 1:
        raise DataError(f"fashion-scenes: cannot make {count} scenes; ask for at least one")


def _known_classes(classes: Sequence[str] | None) -> list[str]:
    names = list(FASHION_CLASSES if classes is None else classes)
    for name in names:
        if name not in FASHION_CLASSES:
            hint = did_you_mean(str(name), FASHION_CLASSES)
            raise DataError(f'fashion-scenes has no class "{name}"{hint or "."} Known: {", ".join(FASHION_CLASSES)}')
    if not names or len(set(names)) < len(names):
        raise DataError("fashion-scenes: name at least one class, and each once")
    return names


def _rows_of(wanted: np.ndarray, garments: int, count: int | None) -> np.ndarray:
    """Places in the endless sequence of scenes, in which garments come round and round and classes take turns."""
    kinds = len(FASHION_CLASSES)
    total = garments // kinds * len(wanted) if count is None else count
    rounds = np.arange(-(-total // len(wanted)))
    return (rounds[:, None] * kinds + np.sort(wanted)).ravel()[:total]


def _draws(seed: int, split: str, rows: int) -> np.ndarray:
    """Random numbers of each scene, a row a scene: longer sequences start with the shorter ones."""
    sequence = np.random.SeedSequence((abs(seed), int(seed < 0), _SPLITS.index(split)))
    return np.random.Generator(np.random.Philox(sequence)).random((rows, DRAWS))
