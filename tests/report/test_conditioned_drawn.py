"""FSS and RS on what maps keep, as drawn beside those of whole images."""

import pytest

from kdlens.answer import Row
from kdlens.report.blocks import Chart, Grid, Picker
from kdlens.report.sections.relevance import panels, relevance_blocks
from kdlens.report.setting import Setting

LAYERS = ("layer1", "layer2", "layer3", "layer4")
SCORES = {
    "fss_conditioned": (("{student}", "baseline"), (0.1, 0.2, 0.3, 0.4)),
    "rs_distilled_conditioned": (("{student}", "baseline"), (0.2, 0.3, 0.5, 0.9)),
    "rs_residual_conditioned": (("{student}", "baseline"), (0.1, 0.2, 0.3, 0.35)),
}
OUTLINES = {"student": (0.01, 0.02, 0.03, 0.04), "baseline": (0.05, 0.06, 0.07, 0.08)}


def condition(answer, students):
    """Add the rows of conditioned scores, as the question gives them."""
    for student in students:
        wanted = [(metric, student, "baseline", values) for metric, (_, values) in SCORES.items()]
        wanted += [("rs_mask_only", student, "baseline", OUTLINES["student"])]
        wanted += [("rs_mask_only", "baseline", student, OUTLINES["baseline"])]
        for metric, model, other, values in wanted:
            for layer, value in zip(LAYERS, values, strict=True):
                pair = {"model": model, "compared_with": other, "layer": layer, "n": 200}
                answer.add(Row(metric, value, low=value - 0.02, high=value + 0.02, chance=0.0, p=0.01, **pair))
                answer.add(Row(f"{metric}_null", 0.0, low=-0.03, high=0.03, **pair))
    return answer


def walk(blocks):
    for block in blocks:
        yield block
        if isinstance(block, Grid | Picker):
            yield from walk(block.blocks)


def charts(answer, setting):
    return [block for block in walk(relevance_blocks(answer, setting)) if isinstance(block, Chart)]


def drawn(report, students):
    answer = condition(report["relevance"], students)
    setting = Setting(report.meta, report.answers, {name: name for name in report.answers})
    return answer, setting


def test_conditioned_scores_stand_beside_the_plain_ones(make_report):
    report = make_report(("kd",))
    found = panels(*drawn(report, ["kd"]))["kd"]
    assert [panel.title for panel in found] == [
        "Feature similarity",
        "Feature similarity on what the maps keep",
        "Relevance to the classes",
        "Relevance of what is unique",
        "Relevance of what distilled maps keep",
        "Relevance of what residual maps keep",
    ]
    plain, kept, classes, _, distilled, residual = found
    assert plain.axis == kept.axis
    assert classes.axis == distilled.axis == residual.axis
    assert distilled.axis.high >= 0.9


def test_every_line_holds_its_own_numbers(make_report):
    answer, setting = drawn(make_report(("kd",)), ["kd"])
    drawings = panels(answer, setting)["kd"]
    found = {panel.title: {line.name: line for line in panel.lines} for panel in drawings}
    kept = found["Feature similarity on what the maps keep"]
    plain = [row.value for row in answer.select(metric="fss", model="kd", compared_with="baseline", seed=None)]
    assert [p.row.value for p in kept["whole images"].points] == plain
    assert values(kept["what the maps keep"]) == SCORES["fss_conditioned"][1]
    for half, model, outline in (("distilled", "kd", "student"), ("residual", "baseline", "baseline")):
        lines = found[f"Relevance of what {half} maps keep"]
        [note] = [panel.note for panel in drawings if panel.title == f"Relevance of what {half} maps keep"]
        assert note.startswith(f"{model} shown only what its {half} maps keep")
        assert values(lines["what the maps keep"]) == SCORES[f"rs_{half}_conditioned"][1]
        assert lines["what the maps keep"].css == half
        assert values(lines["their outline alone"]) == OUTLINES[outline]
        assert all(p.row.low is not None and p.null == (-0.03, 0.03) for line in lines.values() for p in line.points)


def values(line):
    return tuple(p.row.value for p in line.points)


@pytest.mark.parametrize("students", [("kd",), ("kd", "fitnet", "attention-transfer")])
def test_students_are_not_mixed_up(make_report, students):
    report = make_report(students)
    answer, setting = drawn(report, students[-1:])
    found = panels(answer, setting)
    assert [len(found[name]) for name in students] == [3] * (len(students) - 1) + [6]
    assert len(charts(answer, setting)) == 3 * len(students) + 3


def test_nothing_changes_without_them(make_report):
    report = make_report(("kd",))
    setting = Setting(report.meta, report.answers, {name: name for name in report.answers})
    assert len(charts(report["relevance"], setting)) == 3
