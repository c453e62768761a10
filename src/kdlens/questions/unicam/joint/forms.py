"""Ways to trace evidence back to the image. Effects add up, so those of two networks can be subtracted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kdlens.errors import ConfigError, did_you_mean
from kdlens.memory import in_portions, portion_size
from kdlens.models.device import device_of
from kdlens.questions.unicam.joint.gradients import draw_gradients, gradient_effects
from kdlens.questions.unicam.joint.occlusion import draw_occlusion, occlusion_effects

Attribution = Literal["gradients", "occlusion"]
Effects = tuple[Tensor, ...]
"""What parts of the image add to the evidence: one tensor `(n, parts)` or `(n, H, W)` for every size of part."""


@dataclass(frozen=True)
class Form:
    """A way to trace evidence back.

    Attributes:
        effects: `(network, images, labels)` -> effects on the network's centred logit of the label.
        draw: `(effects, size)` -> maps `(n, H, W)`.
        gradients: whether a graph is needed.
    """

    effects: Callable[[nn.Module, Tensor, Tensor], Effects]
    draw: Callable[[Effects, tuple[int, int]], Tensor]
    gradients: bool


FORMS: dict[str, Form] = {
    "gradients": Form(gradient_effects, draw_gradients, gradients=True),
    "occlusion": Form(occlusion_effects, draw_occlusion, gradients=False),
}


def form_of(attribution: str) -> Form:
    """The form called `attribution`.

    Raises:
        ConfigError: there is none.

    Example:
        >>> form_of("gradient")
        Traceback (most recent call last):
        kdlens.errors.ConfigError: attribution must be "gradients" or "occlusion", not "gradient"; did you mean ...
    """
    if attribution not in FORMS:
        near = did_you_mean(str(attribution), FORMS, most=1)
        raise ConfigError(f'attribution must be "gradients" or "occlusion", not "{attribution}"{near}')
    return FORMS[attribution]


def effects_of(
    form: Form,
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    batch_size: int | None = None,
) -> Effects:
    """Effects on one network's evidence, in portions that fit into memory, float32 on the CPU."""
    device = device_of(model)

    def run(part: slice) -> Effects:
        found = form.effects(model, images[part].to(device).float(), labels[part].to(device))
        return tuple(effect.float().cpu() for effect in found)

    size = batch_size or portion_size(model, images, gradients=form.gradients)
    return tuple(torch.cat(parts) for parts in zip(*in_portions(run, len(images), size), strict=True))


def at_temperature(effects: Effects, temperatures: Float[Tensor, " n"]) -> Effects:
    """Effects on logits to effects on evidence: each image's divided by its temperature."""
    return tuple(effect / temperatures.view(-1, *[1] * (effect.ndim - 1)).to(effect) for effect in effects)


def less(own: Effects, other: Effects | None) -> Effects:
    """One network's evidence less another's."""
    if other is None:
        return own
    return tuple(a - b for a, b in zip(own, other, strict=True))
