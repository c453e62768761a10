"""NetDissect-Lite: its tally written as it reads, and its own code where a checkout is at hand.

The checkout is imported from a patched copy made at run time (it was written for SciPy 1.0 and NumPy 1.13); nothing of
it is kept here.
"""

import contextlib
import importlib
import io
import re
import shutil
import sys
import types
from pathlib import Path

import numpy as np
from PIL import Image

from kdlens.data.concepts import Broden

Cells = dict[str, np.ndarray]
"""By unit and category: the best label, what it covers, what the unit covers, both, and IoU."""


def plain_tally(features: np.ndarray, thresholds: np.ndarray, data: Broden) -> Cells:
    """Image by image and unit by unit, with Pillow."""
    words = data.vocabulary
    primary = words.primary.numpy()
    of_category = np.eye(len(words.categories))[primary] * (primary >= 0)[:, None]
    units, labels = features.shape[1], len(words.names)
    both, truth, area = np.zeros((units, labels)), np.zeros(labels), np.zeros((units, len(words.categories)))
    for index in range(len(data)):
        pixels, whole = data.annotation(index)
        pixels = pixels.numpy()
        height, width = pixels.shape[1:]
        counts = np.bincount(pixels.ravel(), minlength=labels)
        counts[0] = 0
        truth += counts
        truth[list(whole)] += height * width
        for unit in range(units):
            own = features[index][unit]
            if own.max() > thresholds[unit]:
                large = Image.fromarray(own.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
                places = np.argwhere(np.array(large) > thresholds[unit])
                hits = np.bincount(pixels[:, places[:, 0], places[:, 1]].ravel(), minlength=labels)
                hits[0] = 0
                both[unit] += hits
                both[unit, list(whole)] += len(places)
                touched = hits @ of_category + of_category[list(whole)].sum(0)
                area[unit] += len(places) * (touched > 0)
    active = area @ of_category.T
    iou = both / (active + truth - both + 1e-10)
    per_category = np.stack([iou * (primary == c) for c in range(len(words.categories))])
    best = per_category.argmax(2)
    rows = np.arange(units)
    return {
        "label": best.T,
        "truth": truth[best].T,
        "activation": active[rows, best].T,
        "intersect": both[rows, best].T,
        "iou": np.take_along_axis(per_category, best[..., None], 2)[..., 0].T,
    }


class Lite:
    """NetDissect-Lite's own code, patched while it is copied.

    Args:
        checkout: folder of a clone of its repository.
        data: folder in Broden's format.
        work: folder for the patched copy and what the code writes.
    """

    def __init__(self, checkout: Path, data: Path, work: Path) -> None:
        with contextlib.suppress(FileExistsError):
            for source in checkout.rglob("*.py"):
                target = work / "code" / source.relative_to(checkout)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(_patched(source.read_text()))
        shutil.rmtree(work / "result", ignore_errors=True)
        _stand_in()
        sys.path.insert(0, str(work / "code"))
        settings = importlib.import_module("settings")
        settings.__dict__.update(
            GPU=False,
            DATA_DIRECTORY=str(data),
            OUTPUT_FOLDER=str(work / "result"),
            CATAGORIES=list(Broden(data).vocabulary.categories),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            self.operator = importlib.import_module("feature_operation").FeatureOperator()

    def tally(self, features: np.ndarray, thresholds: np.ndarray) -> Cells:
        """Its tally, in the order of the units."""
        with contextlib.redirect_stdout(io.StringIO()):
            rows = sorted(self.operator.tally(features, thresholds), key=lambda row: row["unit"])
        data = self.operator.data
        numbers = {data.label[i]["name"]: i for i in reversed(range(len(data.label)))}
        cells = {
            part: np.array([[row[f"{category}-{part}"] for category in data.category_names()] for row in rows])
            for part in ("label", "truth", "activation", "intersect", "iou")
        }
        return cells | {"label": np.vectorize(numbers.get)(cells["label"])}

    def thresholds(self, features: np.ndarray) -> np.ndarray:
        """Its quantiles, by its sketch."""
        with contextlib.redirect_stdout(io.StringIO()):
            return self.operator.quantile_threshold(features)


def _patched(code: str) -> str:
    code = code.replace("raise StopIteration", "return").replace("numpy.NaN", "numpy.nan")
    code = code.replace("list(np.indices(arr.shape)) + [arr]", "tuple(np.indices(arr.shape)) + (arr,)")
    return re.sub(r"scipy\.ndimage\.(interpolation|filters)", "scipy.ndimage", code)


def _stand_in() -> None:
    """`scipy.misc` as it was: images as arrays (of integers that do not overflow), and resizing by Pillow."""
    old = types.ModuleType("scipy.misc")
    old.imread = lambda path: np.array(Image.open(path)).astype(np.int64)  # type: ignore[attr-defined]
    old.imresize = lambda array, size, mode: np.array(  # type: ignore[attr-defined]
        Image.fromarray(array.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    )
    old.imsave = None  # type: ignore[attr-defined]
    sys.modules["scipy.misc"] = old
