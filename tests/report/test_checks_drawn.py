"""What the checks of the maps found, as drawn in the UniCAM section."""

import numpy as np
import pytest

from kdlens.answer import Answer, Notes, Row
from kdlens.report import Meta, ModelCard
from kdlens.report.blocks import Chart, Grid, Picker
from kdlens.report.sections.unicam import unicam_blocks
from kdlens.report.setting import Setting

STAGES = ("head", "layer3", "layer2", "layer1")
SIGNED, STRENGTH = "map_likeness_cascade", "map_rank_likeness_cascade"


def walk(blocks):
    for block in blocks:
        yield block
        if isinstance(block, Grid | Picker):
            yield from walk(block.blocks)


def answer_of(students, values, *, curves=True, seed=0):
    answer = Answer("unicam", Notes(""))
    for name in students:
        for metric, chance in ((SIGNED, 0.02), (STRENGTH, 0.4)):
            for stage, value in zip(STAGES, values, strict=True):
                pair = {"model": name, "compared_with": "baseline", "layer": stage, "seed": seed}
                answer.add(Row(metric, value, low=value - 0.1, high=value + 0.1, chance=chance, n=128, **pair))
        if curves:
            for way in ("deletion", "insertion"):
                for order in ("distilled", "residual", "random"):
                    answer.arrays[f"curve.{way}.{order}.{name}"] = np.array([[0.1, 0.0, 0.2], [0.3, 0.2, 0.4]])
    if curves:
        answer.arrays["curve.shares"] = np.array([0.02, 0.3])
    return answer


def charts(answer, students=("kd",)):
    setting = Setting(Meta(models=[ModelCard(name, "student") for name in students]), {})
    return [block for block in walk(unicam_blocks(answer, setting)) if isinstance(block, Chart)]


def test_the_cascade_stands_beside_the_curves():
    found = charts(answer_of(["kd"], (0.9, 0.5, 0.3, 0.1)))
    titles = [chart.title for chart in found]
    assert titles == ["Causal check: deletion", "Causal check: insertion", "Sanity check: shuffled weights"]
    keys = [key.label for key in found[-1].legend]
    assert keys == ["signed", "strength, by rank", "chance"]


def test_the_drawing_says_the_numbers_from_the_head_to_the_input():
    drawing = charts(answer_of(["kd"], (0.9, 0.5, 0.3, 0.1)))[-1].drawing
    said = [
        drawing.index(f"{stage} {value}") for stage, value in zip(STAGES, ("0.9", "0.5", "0.3", "0.1"), strict=True)
    ]
    assert said == sorted(said)


@pytest.mark.parametrize(("curves", "count"), [(True, 6), (False, 2)])
def test_every_student_has_its_own(curves, count):
    students = ("kd", "fitnet")
    found = charts(answer_of(students, (0.9, 0.5, 0.3, 0.1), curves=curves), students)
    assert len(found) == count
    assert [chart.title for chart in found].count("Sanity check: shuffled weights") == 2


def test_nothing_is_drawn_of_what_was_not_checked():
    assert charts(Answer("unicam", Notes(""), [Row("lead", 1.0, model="kd")])) == []
