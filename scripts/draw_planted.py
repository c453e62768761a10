"""Draw docs/assets/planted.png: images of the six planted worlds, the cues outlined in every second one.

python scripts/draw_planted.py
"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

mpl.use("Agg")
import matplotlib.pyplot as plt

from kdlens.data.planted import CUES, WORLDS, PlantedImages

TARGET = Path(__file__).parents[1] / "docs" / "assets" / "planted.png"
COLUMNS = 8
COLOURS = dict(zip(CUES, ("#00e5ff", "#ffffff", "#ff40ff"), strict=True))


def main() -> None:
    figure, axes = plt.subplots(len(WORLDS), COLUMNS, figsize=(COLUMNS * 1.05, len(WORLDS) * 1.05 + 0.3))
    for row, world in zip(axes, WORLDS, strict=True):
        data = PlantedImages(world, count=COLUMNS // 2, seed=3)
        for k, axis in enumerate(row):
            axis.imshow(data.images[k // 2].permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            for cue, mask in zip(CUES, data.masks[k // 2], strict=True):
                if k % 2:
                    axis.contour(mask.float(), [0.5], colors=COLOURS[cue], linewidths=1.2)
        row[0].set_ylabel(world.replace("-", "\n"), rotation=0, ha="right", va="center", fontsize=8)
    handles = [plt.Line2D([], [], color=colour, label=f"{cue} cue") for cue, colour in COLOURS.items()]
    figure.legend(handles=handles, loc="lower center", ncol=3, fontsize=8, facecolor="#888888", frameon=True)
    figure.subplots_adjust(left=0.13, right=0.995, top=0.995, bottom=0.055, wspace=0.04, hspace=0.04)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    picture.quantize(128, dither=Image.Dither.NONE).save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
