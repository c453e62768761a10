"""The images that knowledge is measured on, and which of their cells are the object."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.answer import Answer
from kdlens.errors import ConfigError
from kdlens.questions.context import Context
from kdlens.questions.knowledge.findings import say_few, say_left_out, say_uneven
from kdlens.questions.knowledge.masks import centre, choose_grid, on_grid, uneven
from kdlens.questions.options import at_least, one_of

PURPOSE = "knowledge"
"""Of the draw: one for all questions about knowledge, so that they speak of the same images."""

PORTION = 128

NO_MASKS = (
    'The question "{question}" needs object masks, and the dataset "{data}" has none, so nothing was measured. Choose '
    "data with masks (fashion-scenes, pets, cub or voc, or your own items as (image, label, mask)); for crops centred "
    "on their object set foreground: centre."
)
NONE_FIT = (
    "None of the {drawn} images drawn has both a cell of the object and one of the background on the grid, so nothing "
    "was measured."
)
HOW = {
    "masks": "a cell is the object's if at least half of its pixels are",
    "centre": "by rule, an eighth of the grid on every side is background",
}


@dataclass(frozen=True)
class Setup:
    """The options that all questions about knowledge share.

    Attributes:
        images: to draw.
        grid: cells a side; `"auto"` chooses by the size of the images.
        foreground: `"masks"`, or `"centre"` for crops centred on their object.
    """

    images: int
    grid: int | Literal["auto"]
    foreground: Literal["masks", "centre"]

    def check(self) -> None:
        """Refuse options that make no sense.

        Raises:
            ConfigError: too few images, no cell, or an unknown foreground.
        """
        at_least(self, images=2)
        if self.grid != "auto" and not (isinstance(self.grid, int) and self.grid >= 2):
            raise ConfigError(f'grid must be 2 or more cells a side, or "auto", got {self.grid!r:.80}')
        one_of(self, foreground=tuple(HOW))


@dataclass(frozen=True, eq=False)
class Drawn:
    """Images with an object and a background.

    Attributes:
        indices: their places in the data.
        images: as the networks take them.
        masks: of pixels, where the data has some.
        foreground: cells of the object.
        cells: rows and columns of the grid.
    """

    indices: Int[Tensor, " n"]
    images: Float[Tensor, "n c h w"]
    masks: Bool[Tensor, "n h w"] | None
    foreground: Bool[Tensor, "n gh gw"]
    cells: tuple[int, int]


def draw(context: Context, setup: Setup, answer: Answer) -> Drawn | None:
    """Draw the images and say what was left out; `None`, with one alert, where nothing can be measured.

    Raises:
        DataError: a grid finer than the images.
    """
    indices = context.draw(setup.images, PURPOSE)
    batches = [context.batch(part) for part in indices.split(PORTION)]
    images = torch.cat([batch.images for batch in batches])
    found = [batch.masks for batch in batches if batch.masks is not None]
    masks = torch.cat(found) if len(found) == len(batches) else None
    if masks is None and setup.foreground == "masks":
        answer.say(NO_MASKS.format(question=answer.question, data=context.data_name), kind="alert")
        return None
    side = choose_grid(*images.shape[2:]) if setup.grid == "auto" else setup.grid
    cells = (side, side)
    by_rule = setup.foreground == "centre"
    foreground = centre(len(images), cells) if by_rule or masks is None else on_grid(masks, cells)
    fit = foreground.flatten(1).any(1) & ~foreground.flatten(1).all(1)
    n, drawn = int(fit.sum()), len(fit)
    if n < 2:
        answer.say(NONE_FIT.format(drawn=drawn), kind="alert", tone="bad")
        return None
    say_left_out(answer, drawn - n, drawn, HOW[setup.foreground])
    say_few(answer, n)
    say_uneven(answer, uneven((images.shape[2], images.shape[3]), cells), cells)
    return Drawn(indices[fit], images[fit], None if masks is None else masks[fit], foreground[fit], cells)
