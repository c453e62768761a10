"""Draw docs/assets/maps.png: what four kinds of maps make of images on which the truth is known.

python scripts/draw_maps.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image

mpl.use("Agg")
import matplotlib.pyplot as plt

import kdlens
from kdlens.bench import METHODS
from kdlens.bench.cases import Case
from kdlens.bench.triples import load_triple
from kdlens.data.planted import CUES, PlantedImages

TARGET = Path(__file__).parents[1] / "docs" / "assets" / "maps.png"
WORLDS = ("columns", "scattered", "overlapping", "scenes")
COLOURS = dict(zip(CUES, ("#00e5ff", "#ffffff", "#ff40ff"), strict=True))
TITLES = (
    "image",
    "Grad-CAM of\nthe student",
    "published UniCAM,\nstudent | baseline",
    "joint: student's\nown evidence",
    "joint: baseline's\nown evidence",
)


def main() -> None:
    figure, axes = plt.subplots(len(WORLDS), len(TITLES), figsize=(7.6, 6.5))
    for row, world in zip(axes, WORLDS, strict=True):
        picture, masks, maps = maps_of(world)
        for k, axis in enumerate(row):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.imshow(picture if k == 0 else picture.mean(2), cmap="gray", interpolation="nearest")
            if k:
                map_ = maps[k - 1].clamp(min=0)
                strength = (map_ / map_.max().clamp_min(1e-9)).numpy()
                axis.imshow(map_, cmap="inferno", alpha=0.25 + 0.75 * strength, interpolation="bilinear")
            for cue, mask in zip(CUES, masks, strict=True):
                axis.contour(mask.float(), [0.5], colors=COLOURS[cue], linewidths=1.2)
        row[0].set_ylabel(world, fontsize=9)
    for axis, title in zip(axes[0], TITLES, strict=True):
        axis.set_title(title, fontsize=8.5)
    handles = [plt.Line2D([], [], color=colour, label=f"{cue} cue") for cue, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="lower center", ncol=3, fontsize=8.5, facecolor="#888888", frameon=True)
    figure.subplots_adjust(left=0.04, right=0.995, top=0.935, bottom=0.06, wspace=0.04, hspace=0.04)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    picture.quantize(200, dither=Image.Dither.NONE).save(TARGET, optimize=True)


def maps_of(world: str) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """The first image on which all cues vote for the class, its masks, and its maps."""
    triple, data = load_triple(world, seed=0), PlantedImages(world, count=200, seed=7)
    reference = PlantedImages(world, count=400, seed=8)
    chosen = (data.votes == data.labels[:, None]).all(1).nonzero().flatten()[:8]
    images, labels = data.normalised(data.images[chosen]), data.labels[chosen]
    compared = (data.normalised(reference.images), reference.labels)
    case = Case(triple.student, triple.baseline, images, labels, compared, triple.others)
    null = [(other, triple.baseline) for other in triple.others]
    signed = kdlens.unicam(triple.student, triple.baseline, images, labels, reference=compared, null=null)
    beyond = torch.where(signed.raw.abs() > signed.band.pixel, signed.raw, 0.0)
    found = [METHODS["gradcam"](case), METHODS["published"](case), beyond, -beyond]
    return data.images[chosen[0]].permute(1, 2, 0).clamp(0, 1), data.masks[chosen[0]], [maps[0] for maps in found]


if __name__ == "__main__":
    main()
