"""Tables as NetDissect-Lite writes and reads them (`tally.csv`), to set earlier results beside new ones."""

from typing import TYPE_CHECKING

import torch

from kdlens.errors import DataError
from kdlens.questions.dissection.concepts import Detectors
from kdlens.questions.dissection.result import THRESHOLD, Dissection

if TYPE_CHECKING:
    import pandas as pd

_PARTS = ("label", "truth", "activation", "intersect", "iou")


def to_netdissect(found: Dissection) -> "pd.DataFrame":
    """A dissection in the columns of NetDissect-Lite's `tally.csv`, best unit first; units count from 1 there.

    Example:
        >>> import kdlens
        >>> scenes = kdlens.load_concepts("fashion-scenes", count=40)
        >>> network = kdlens.load_model("zoo:resnet8", classes=10)
        >>> found = kdlens.dissect(network, scenes, layers=["layer3"], shuffles=0)["layer3"]
        >>> list(to_netdissect(found).columns[:6])
        ['unit', 'category', 'label', 'score', 'object-label', 'object-truth']
    """
    import pandas as pd

    names, best, total = found.vocabulary.names, found.best, found.tally.total()
    units, activation = torch.arange(found.units), total.activation(found.plan.category_rule)[0]
    columns: dict[str, object] = {
        "unit": units + 1,
        "category": [found.vocabulary.categories[c] if c >= 0 else "" for c in best.category.tolist()],
        "label": [names[label] for label in best.label.tolist()],
        "score": best.iou,
    }
    for category, labels, ious in zip(found.vocabulary.categories, best.labels, best.ious, strict=True):
        texts = [names[label] for label in labels.tolist()]
        sums = total.labels.truth[0, labels], activation[units, labels], total.both[0, units, labels]
        values = (texts, *sums, ious)
        columns |= {f"{category}-{part}": value for part, value in zip(_PARTS, values, strict=True)}
    return pd.DataFrame(columns).sort_values("score", ascending=False, kind="stable", ignore_index=True)


def count_netdissect(table: "pd.DataFrame", threshold: float = THRESHOLD) -> Detectors:
    """Count the detectors in a table that NetDissect or NetDissect-Lite wrote.

    Args:
        table: with the columns category, label and score, e.g. `pandas.read_csv("tally.csv")`.
        threshold: IoU from which a unit counts.

    Raises:
        DataError: a column is missing.

    Example:
        >>> import pandas as pd
        >>> rows = [("object", "car", 0.276), ("object", "car", 0.05), ("scene", "bar-s", 0.03)]
        >>> count_netdissect(pd.DataFrame(rows, columns=["category", "label", "score"]))
        Detectors(total=2, unique=1, by_category={'object': 2})
    """
    missing = [name for name in ("category", "label", "score") if name not in table.columns]
    if missing:
        raise DataError(
            f"a NetDissect tally has the columns category, label and score; {', '.join(missing)} is missing"
        )
    detects = table[table["score"].astype("float64") >= threshold]
    of_category = detects["category"].value_counts().sort_index()
    return Detectors(len(detects), detects["label"].nunique(), {str(k): int(v) for k, v in of_category.items()})
