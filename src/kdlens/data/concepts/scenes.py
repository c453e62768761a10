"""fashion-scenes with concepts: the garment, and the colour and texture of every pixel."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from kdlens.data.concepts.annotated import Annotation, fingerprint_of
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.data.scenes import FashionScenes

_CACHE_BYTES = 512 * 1024**2
_BLOCK, _BLOCK_PIXELS = 64, 2**24  # at most: scenes rendered together when one is asked for
_Block = tuple[UInt8[Tensor, "n 3 h w"], UInt8[Tensor, "n 3 h w"]]


class SceneConcepts:
    """Scenes whose every pixel has a colour and a texture, and those of the garment its class as object.

    The garment's own texture is called fabric.

    Args:
        split: `"train"` or `"test"`.
        size: side length in pixels; this and what follows as for `FashionScenes`.
        bias: the chance that the background follows the class.
        seed: of everything random.
        classes: names of the classes to use.
        count: number of scenes.
        tint: give garments one of eight colours.

    Attributes:
        scenes: the scenes.
        vocabulary: categories object, color and texture.

    Raises:
        DataError: an option is out of its range.

    Example:
        >>> data = SceneConcepts("test", classes=["Dress"], count=2)
        >>> pixels, whole = data.annotation(0)
        >>> [data.vocabulary.names[label] for label in pixels[0].unique()], pixels.shape, whole
        (['', 'Dress'], torch.Size([3, 32, 32]), ())
    """

    name = "fashion-scenes"
    mean: tuple[float, ...] | None = FashionScenes.mean
    std: tuple[float, ...] | None = FashionScenes.std

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
        self._open(FashionScenes(split, size=size, bias=bias, seed=seed, classes=classes, count=count, tint=tint))

    @classmethod
    def of(cls, scenes: FashionScenes) -> "SceneConcepts":
        """Concepts of scenes that are there already."""
        concepts = cls.__new__(cls)
        concepts._open(scenes)
        return concepts

    def _open(self, scenes: FashionScenes) -> None:
        names = {"object": scenes.classes, "color": scenes.colour_names, "texture": scenes.texture_names}
        self.scenes = scenes
        self.vocabulary = Vocabulary.of(names)
        self._step = max(1, min(_BLOCK, _BLOCK_PIXELS // scenes.size**2))
        self._blocks: dict[int, _Block] = {}

    def __len__(self) -> int:
        return len(self.scenes)

    def image(self, index: int) -> Float[Tensor, "3 h w"]:
        """One scene in [0, 1]."""
        return self._block(index)[0][index % self._step].float() / 255

    def annotation(self, index: int) -> Annotation:
        """Garment, colours and textures of one scene: three channels of its size."""
        return Annotation(self._block(index)[1][index % self._step].int(), ())

    def fingerprint(self) -> str:
        """SHA-256 over the vocabulary, what makes the scenes, and a sample of them."""
        scenes = self.scenes
        made = (scenes.split, scenes.size, scenes.bias, scenes.seed, scenes.tint)
        return fingerprint_of(self, (made, scenes.labels.tolist()))

    def _block(self, index: int) -> _Block:
        """Images and labels of a block of scenes; as many blocks are kept as memory is set aside for."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} scenes; there is no scene {index}")
        number = index // self._step
        block = self._blocks.get(number)
        if block is None:
            most = max(1, _CACHE_BYTES // (self._step * 6 * self.scenes.size**2))
            for oldest in list(self._blocks)[: len(self._blocks) + 1 - most]:
                self._blocks.pop(oldest, None)  # another thread may have been first
            block = self._blocks[number] = self._rendered(number)
        return block

    def _rendered(self, number: int) -> _Block:
        indices = torch.arange(number * self._step, min((number + 1) * self._step, len(self)))
        parts = list(self.scenes.rendered(indices))
        colour, texture = (int(self.vocabulary.labels(category)[0]) for category in ("color", "texture"))
        garments = torch.cat([p.masks for p in parts]) * (self.scenes.labels[indices] + 1).byte()[:, None, None]
        colours, textures = torch.cat([p.colours for p in parts]), torch.cat([p.textures for p in parts])
        return torch.cat([p.images for p in parts]), torch.stack([garments, colours + colour, textures + texture], 1)
