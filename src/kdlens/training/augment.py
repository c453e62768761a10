"""Augmentation of whole batches on tensors, with a generator of its own.

What happens to an image is drawn for the whole batch before the batch is split over processes, so two processes train
on the pictures one process would train on.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.errors import ConfigError, did_you_mean

Transform = Callable[[Tensor, torch.Generator], Tensor]
"""A user's augmentation: images `(n, C, H, W)` and a CPU generator in, images of the same shape out."""


class Augmentation(Protocol):
    """Draws numbers for a batch, and changes images by them."""

    name: str

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return `(count, k)` random numbers in [0, 1), one row an image."""

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Return the images changed by their rows."""


class Flip:
    """Mirror every other image, on average, left to right.

    Example:
        >>> Flip().apply(torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[0.7]])).flatten().tolist()
        [2.0, 1.0]
    """

    name = "flip"

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw one number an image."""
        return torch.rand(count, 1, generator=generator)

    def apply(self, images: Float[Tensor, "n c h w"], drawn: Float[Tensor, "n 1"]) -> Float[Tensor, "n c h w"]:
        """Mirror images whose number is at least one half."""
        mirrored = (drawn[:, 0] >= 0.5).to(images.device).view(-1, 1, 1, 1)
        return torch.where(mirrored, images.flip(3), images)


class CropFlip:
    """Pad by `pad` pixels of 0 on every side, cut a window of the old size at random, and mirror at random.

    Zero is the mean colour where images are normalised. The padding is an eighth of the side: 4 pixels at 32.
    """

    name = "crop-flip"

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw row, column and mirror numbers for every image."""
        return torch.rand(count, 3, generator=generator)

    def apply(self, images: Float[Tensor, "n c h w"], drawn: Float[Tensor, "n 3"]) -> Float[Tensor, "n c h w"]:
        """Cut and mirror with a single gather."""
        n, _, height, width = images.shape
        pad = max(1, min(height, width) // 8)
        padded = torch.nn.functional.pad(images, (pad, pad, pad, pad))
        down, right = ((drawn[:, :2] * (2 * pad + 1)).long()).T
        rows = down[:, None] + torch.arange(height)
        columns = torch.arange(width).expand(n, width)
        columns = right[:, None] + torch.where(drawn[:, 2:] >= 0.5, columns.flip(1), columns)
        index = (torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :])
        moved = padded.permute(0, 2, 3, 1)[tuple(part.to(images.device) for part in index)]
        return moved.permute(0, 3, 1, 2).contiguous()


class Foreign:
    """A user's callable behind the common interface; each image's row is one seed, of which the first counts."""

    def __init__(self, transform: Transform) -> None:
        self.transform = transform
        self.name = getattr(transform, "__qualname__", type(transform).__qualname__)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw one seed an image."""
        return torch.randint(2**62, (count, 1), generator=generator)

    def apply(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Call the user's function with a generator seeded for this batch and process."""
        changed = self.transform(images, torch.Generator().manual_seed(int(drawn[0, 0])))
        if not isinstance(changed, Tensor) or changed.shape[:2] != images.shape[:2]:
            raise ConfigError(
                f"the augmentation {self.name} must return images of shape {tuple(images.shape)}, "
                f"not {tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__}"
            )
        return changed


AUGMENTATIONS: dict[str, type[Flip] | type[CropFlip]] = {"flip": Flip, "crop-flip": CropFlip}


def make_augmentation(given: str | Transform | None) -> Augmentation | None:
    """Return the augmentation for `"none"`, `"flip"`, `"crop-flip"` or a user's `transform(images, generator)`.

    Raises:
        ConfigError: an unknown name.

    Example:
        >>> make_augmentation("none") is None, make_augmentation("flip").name
        (True, 'flip')
    """
    if given is None or given == "none":
        return None
    if callable(given):
        return Foreign(given)
    if given not in AUGMENTATIONS:
        known = ["none", *AUGMENTATIONS]
        raise ConfigError(
            f'unknown augmentation "{given}"{did_you_mean(given, known) or "."} Known: {", ".join(known)}'
        )
    return AUGMENTATIONS[given]()
