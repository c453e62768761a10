"""Tables in NetDissect's form, against published ones."""

import pandas as pd
import pytest

from kdlens.errors import DataError
from kdlens.questions.dissection.dissect import dissect_readers
from kdlens.questions.dissection.netdissect import count_netdissect, to_netdissect
from kdlens.questions.dissection.plan import Plan

PUBLISHED = [  # three units of the last stage of a ResNet-18 trained on Places365, on Broden
    ("object", "car", 0.275815, 5_354_795, 3_527_902, 1_920_327),
    ("object", "train", 0.259580, None, None, None),
    ("object", "dog", 0.238427, None, None, None),
]


@pytest.fixture
def found(anything):
    data = anything(n=60, units=20)
    plan = Plan(shuffles=2, min_images=0, category_rule="netdissect-lite")
    return dissect_readers({"net": lambda x: {"layer": x}}, data, plan, str)["net", "layer"]


def test_iou_of_a_published_unit():
    _, _, score, truth, activation, intersect = PUBLISHED[0]
    assert intersect / (truth + activation - intersect) == pytest.approx(score, abs=1e-6)


def test_published_units_are_counted():
    table = pd.DataFrame([row[:3] for row in PUBLISHED], columns=["category", "label", "score"])
    assert count_netdissect(table, 0.25).by_category == {"object": 2}
    assert count_netdissect(table, 0.3).total == 0


def test_the_table_of_a_dissection_counts_as_the_dissection(found, tmp_path):
    threshold = float(found.best.iou.median())
    to_netdissect(found).to_csv(tmp_path / "tally.csv", index=False, float_format="%.17g")
    again = count_netdissect(pd.read_csv(tmp_path / "tally.csv"), threshold)
    counts = found.counts(threshold)
    assert (again.total, again.unique) == (counts.total, counts.unique)
    assert again.by_category == {name: n for name, n in counts.found.by_category.items() if n}


def test_the_sums_of_a_row_give_its_iou(found):
    table = to_netdissect(found)
    for category in found.vocabulary.categories:
        part = {name: table[f"{category}-{name}"] for name in ("truth", "activation", "intersect", "iou")}
        union = part["truth"] + part["activation"] - part["intersect"]
        ratio = (part["intersect"] / union).fillna(0)  # no label of the category overlaps the unit
        pd.testing.assert_series_equal(ratio, part["iou"], check_names=False, rtol=1e-9, atol=1e-12)


def test_a_table_of_something_else():
    with pytest.raises(DataError, match="category, score is missing"):
        count_netdissect(pd.DataFrame({"label": ["car"]}))
