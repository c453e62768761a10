"""fashion-scenes with concepts: the garment, and the colour and texture of every pixel."""

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from kdlens.data.concepts.annotated import Annotation, fingerprint_of
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.data.scenes import FashionScenes

_CACHE_BYTES = 512 * 1024**2
_BLOCK, _BLOCK_PIXELS = 64, 2**24  # at most: scenes rendered together when one is asked for


class SceneConcepts:
    """Scenes whose every pixel has a colour and a texture, and those of the garment its class as object.

    The garment's own texture is called fabric.

    Args:
        scenes: the scenes; or their split.
        options: of `FashionScenes`, where it is to be made.

    Attributes:
        scenes: the scenes.
        vocabulary: categories object, color and texture.

    Raises:
        DataError: an option is out of its range.

    Example:
        >>> data = SceneConcepts("test", classes=["Dress"], count=2, tint=True)
        >>> pixels, whole = data.annotation(0)
        >>> [data.vocabulary.names[label] for label in pixels[0].unique()], pixels.shape, whole
        (['', 'Dress'], torch.Size([3, 32, 32]), ())
    """

    name = "fashion-scenes"
    mean: tuple[float, ...] | None = FashionScenes.mean
    std: tuple[float, ...] | None = FashionScenes.std

    def __init__(self, scenes: FashionScenes | str = "test", **options: Any) -> None:
        self.scenes = scenes if isinstance(scenes, FashionScenes) else FashionScenes(scenes, **options)
        self.vocabulary = Vocabulary.of(
            {
                "object": self.scenes.classes,
                "color": self.scenes.colour_names,
                "texture": self.scenes.texture_names,
            }
        )
        self._step = max(1, min(_BLOCK, _BLOCK_PIXELS // self.scenes.size**2))
        self._blocks: dict[int, tuple[UInt8[Tensor, "n 3 h w"], UInt8[Tensor, "n 3 h w"]]] = {}

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

    def _block(self, index: int) -> tuple[UInt8[Tensor, "n 3 h w"], UInt8[Tensor, "n 3 h w"]]:
        """Images and labels of a block of scenes; as many blocks are kept as memory is set aside for."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} scenes; there is no scene {index}")
        number = index // self._step
        if number not in self._blocks:
            while self._blocks and (len(self._blocks) + 1) * self._step * 6 * self.scenes.size**2 > _CACHE_BYTES:
                self._blocks.pop(next(iter(self._blocks)))
            self._blocks[number] = self._rendered(number)
        return self._blocks[number]

    def _rendered(self, number: int) -> tuple[UInt8[Tensor, "n 3 h w"], UInt8[Tensor, "n 3 h w"]]:
        indices = torch.arange(number * self._step, min((number + 1) * self._step, len(self)))
        parts = list(self.scenes.rendered(indices))
        colour, texture = (int(self.vocabulary.labels(category)[0]) for category in ("color", "texture"))
        garments = torch.cat([p.masks for p in parts]) * (self.scenes.labels[indices] + 1).byte()[:, None, None]
        colours, textures = torch.cat([p.colours for p in parts]), torch.cat([p.textures for p in parts])
        return torch.cat([p.images for p in parts]), torch.stack([garments, colours + colour, textures + texture], 1)
