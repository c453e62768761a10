"""From images in [0, 1] to what a network takes, and to its activation maps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kdlens.data.concepts.annotated import ConceptData
from kdlens.data.resize import Size, fit_image, side_lengths
from kdlens.errors import ConfigError
from kdlens.memory import in_portions, portion_size
from kdlens.models.device import device_of
from kdlens.models.taps import record
from kdlens.models.tokens import Reshape, to_feature_map

Scale = tuple[Sequence[float], Sequence[float]]
Preset = Literal["data", "netdissect", "torchvision", "none"] | Scale

Prepare = Callable[[Float[Tensor, "n c h w"]], Float[Tensor, "n c H W"]]

_SCALES: dict[str, Scale] = {
    # NetDissect-Lite: means of the channels of 8 bits, and one standard deviation for all three
    "netdissect": ((124.6901 / 255, 118.6897 / 255, 109.5388 / 255), (0.224, 0.224, 0.224)),
    "torchvision": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@dataclass(frozen=True)
class Preparation:
    """How images become inputs.

    Attributes:
        scale: mean and standard deviation of the channels, None to leave values in [0, 1].
        size: rows and columns to bring images to, None to leave them.
    """

    scale: Scale | None
    size: tuple[int, int] | None

    @classmethod
    def of(cls, preset: Preset, size: Size | None, concepts: ConceptData) -> "Preparation":
        """Look up a preset.

        Raises:
            ConfigError: no such preset.
        """
        sides = None if size is None else side_lengths(size)
        if not isinstance(preset, str):
            mean, std = preset
            return cls((tuple(mean), tuple(std)), sides)
        if preset == "none":
            return cls(None, sides)
        if preset == "data":
            known = concepts.mean is not None and concepts.std is not None
            return cls((concepts.mean, concepts.std) if known else None, sides)  # type: ignore[arg-type]
        if preset not in _SCALES:
            names = ", ".join(f'"{name}"' for name in ("data", "none", *_SCALES))
            raise ConfigError(f'preset must be {names}, or (mean, std); got "{preset}"')
        return cls(_SCALES[preset], sides)

    def __call__(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c H W"]:
        """Bring images to the size and scale."""
        if self.size is not None:
            images = fit_image(images, self.size, "stretch")  # masks are stretched with them
        if self.scale is None:
            return images
        mean, std = (torch.tensor(values, dtype=images.dtype).view(1, -1, 1, 1) for values in self.scale)
        return (images - mean) / std


class Once:
    """Prepares images once for several networks that are given the same ones after another.

    Args:
        prepare: what is done to them.
    """

    def __init__(self, prepare: Prepare) -> None:
        self._prepare = prepare
        self._images: Tensor | None = None
        self._prepared: Tensor | None = None
        self._version: object = None

    def __call__(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c H W"]:
        """Bring images to the size and scale; anew if a network has changed them in place."""
        if self._prepared is None or self._images is not images or _version(self._prepared) != self._version:
            self._images, self._prepared = images, self._prepare(images)
        self._version = _version(self._prepared)
        return self._prepared


def _version(x: Tensor) -> object:
    """Equal as long as nobody writes to the tensor; never where that is not tracked."""
    return object() if x.is_inference() else x._version


def maps_of(
    model: nn.Module, layers: Sequence[str], prepare: Prepare, reshape: Reshape | None, batch_size: int | None
) -> Callable[[Tensor], Mapping[str, Tensor]]:
    """A reader: from images in [0, 1] to the activation maps at `layers`, on the network's device."""
    device = device_of(model)

    def read(images: Tensor) -> dict[str, Tensor]:
        prepared = prepare(images)

        def part(which: slice) -> dict[str, Tensor]:
            x = prepared[which].to(device)
            return {layer: _as_map(a, x, model, layer, reshape) for layer, a in record(model, x, layers)[1].items()}

        size = batch_size or portion_size(model, prepared[:1].expand(len(images), -1, -1, -1))
        parts = in_portions(part, len(images), size)
        return {layer: torch.cat([found[layer] for found in parts]) for layer in layers}

    return read


def _as_map(activation: Tensor, x: Tensor, model: nn.Module, layer: str, reshape: Reshape | None) -> Tensor:
    size = (x.shape[2], x.shape[3])
    return to_feature_map(activation, batch=len(x), input_size=size, model=model, layer=layer, reshape=reshape).float()
