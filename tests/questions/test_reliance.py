from dataclasses import replace

import pytest
import torch
from torch import nn

from kdlens.errors import ConfigError
from kdlens.questions.reliance import question as reliance
from kdlens.questions.reliance.question import Reliance


class LooksAt(nn.Module):
    """Names the class from the colour of the object (bright) or of the background (dark); four classes."""

    def __init__(self, where):
        super().__init__()
        self.where = where

    def forward(self, x):
        bright = (x.amax(1, keepdim=True) > 1.5).float()
        seen = bright if self.where == "object" else 1 - bright
        colour = (x * seen).sum((2, 3)) / seen.sum((2, 3)).clamp_min(1)
        scale = 2.0 if self.where == "object" else 0.5
        return -(colour[:, None] - scale * CODES).square().sum(2)


CODES = torch.tensor([[1.0, 0.2, 0.2], [0.2, 1.0, 0.2], [0.2, 0.2, 1.0], [1.0, 1.0, 0.2]])


@pytest.fixture
def biased(make_context):
    """The colour of object and background both give the class away; the baseline reads the background."""
    context = make_context(n=120)
    labels = context.labels
    masks = context.masks
    context.images = torch.where(
        masks[:, None], 2.0 * CODES[labels][:, :, None, None], 0.5 * CODES[labels][:, :, None, None]
    )
    teacher, baseline, student = context.subjects
    context.subjects = (
        replace(teacher, network=LooksAt("object")),
        replace(baseline, network=LooksAt("background")),
        replace(student, network=LooksAt("object")),
    )
    return context


@pytest.mark.parametrize("fill", ["tile", "mean"])
def test_who_looks_at_the_background_loses_everything(biased, fill):
    answer = Reliance(fill=fill).answer(biased)
    assert answer.value("accuracy_original", model="baseline", seed=0) == 100
    assert answer.value("accuracy_original", model="kd", seed=0) == 100
    assert answer.value("accuracy_background_swapped", model="baseline", seed=None) == 0
    assert answer.value("accuracy_background_swapped", model="kd", seed=None) == 100
    assert answer.value("accuracy_background_same_class", model="baseline", seed=0) == 100
    assert answer.value("accuracy_object_removed", model="baseline", seed=0) == 100
    assert answer.value("background_reliance", model="baseline", seed=0) == 100
    assert answer.value("background_gap", model="baseline", seed=0) == 100
    assert answer.value("background_reliance", model="kd", seed=0) == 0
    assert answer.value("background_reliance_change", model="kd", seed=None) == -100
    assert answer.value("answers_changed", model="baseline", seed=0) == 100
    assert answer.value("answers_changed", model="kd", seed=0) == 0
    assert answer.value("answers_changed_change", model="kd", seed=None) == -100
    assert any(
        f.text.startswith("Another background changes the answer of baseline on 100.0 %") for f in answer.findings
    )
    said = next(f for f in answer.findings if "accuracy to a wrong background" in f.text)
    assert said.tone == "good"
    assert said.text.startswith(
        "kd loses less accuracy to a wrong background than baseline: when the background is swapped for that of "
        "another class, baseline loses 100.0 points ["
    )
    assert "and kd loses 0.0 points [" in said.text
    assert any("baseline still names 100.0 %" in f.text for f in answer.findings)


def test_a_student_that_looks_at_the_background_is_told(biased):
    teacher, baseline, student = biased.subjects
    biased.subjects = (
        teacher,
        replace(baseline, network=student.network),
        replace(student, network=baseline.network),
    )
    answer = Reliance().answer(biased)
    said = next(f for f in answer.findings if "loses more accuracy" in f.text)
    assert said.tone == "bad"
    assert answer.value("background_reliance_change", model="kd", seed=None) == 100


def test_pictures_read_again_give_the_same_numbers(biased, monkeypatch):
    held = Reliance().answer(biased)
    monkeypatch.setattr(reliance, "HELD_BYTES", 0)
    monkeypatch.setattr(reliance, "PORTION", 7)
    assert Reliance().answer(biased).rows == held.rows


def test_seeds_have_rows_and_intervals(make_context):
    answer = Reliance(images=60).answer(make_context(n=120, seeds=2))
    rows = answer.select(metric="background_reliance", model="kd")
    assert [row.seed for row in rows] == [0, 1, None]
    assert rows[2].value == pytest.approx((rows[0].value + rows[1].value) / 2)
    assert all(row.low <= row.value <= row.high for row in answer.rows)
    assert any(text.startswith("Only 60 images") for text in (f.text for f in answer.findings))
    assert answer.select(metric="accuracy_object_removed", seed=None)[0].chance == 25


def test_without_masks_there_is_one_alert_and_no_number(make_context):
    answer = Reliance().answer(make_context(n=40, masks=False))
    assert answer.rows == []
    assert [f.kind for f in answer.findings] == ["alert"]
    assert answer.findings[0].text == (
        'The question "reliance" needs object masks, and the dataset "pictures" has none, so nothing was measured. '
        "Choose data with masks (fashion-scenes, pets, cub or voc, or your own items as (image, label, mask)), or "
        "leave the question out."
    )


def test_the_dataset_without_masks_is_named(make_context):
    context = make_context(n=40, masks=False)
    context.data_name = "cifar10"
    answer = Reliance().answer(context)
    assert 'needs object masks, and the dataset "cifar10" has none' in answer.findings[0].text


def test_images_without_background_are_left_out_and_counted(make_context):
    context = make_context(n=120)
    context.masks[:20] = True
    answer = Reliance().answer(context)
    assert answer.select(metric="accuracy_original", model="kd", seed=0)[0].n == 100
    assert any(f.text.startswith("20 images left out: no object") for f in answer.findings)


def test_one_class_cannot_be_swapped(make_context):
    context = make_context(n=40)
    context._labels = torch.zeros(40).long()
    answer = Reliance().answer(context)
    assert answer.rows == []
    assert answer.findings[0].text == (
        "40 images of 40 can be used, of one class only: there is no background to swap with."
    )


@pytest.mark.parametrize(
    ("left", "text"), [(0, "Of 40 images none has both"), (1, "1 image of 40 can be used, of one")]
)
def test_images_that_cannot_be_used_are_counted(make_context, left, text):
    context = make_context(n=40)
    context.masks[left:] = False
    answer = Reliance().answer(context)
    assert answer.rows == []
    assert answer.findings[0].text.startswith(text)


def test_a_difference_that_is_not_clear_is_not_called_one(make_context):
    context = make_context(n=40)
    teacher, baseline, student = context.subjects
    context.subjects = (teacher, baseline, replace(student, network=baseline.network))
    said = [f.text for f in Reliance().answer(context).findings if f.text.startswith("Another background")]
    assert len(said) == 1
    assert ": no clear difference, 0.0 points [" in said[0]


def test_options_are_checked():
    with pytest.raises(ConfigError, match='fill must be "tile" or "mean", not "black"'):
        Reliance(fill="black")


def test_a_broken_network_names_nothing_right(make_context):
    """The largest of NaN logits is the first class, which half of these images have."""
    context = make_context(n=60, classes=2)
    teacher, baseline, student = context.subjects

    class Broken(nn.Module):
        def forward(self, x):
            return torch.full((len(x), 2), torch.nan)

    context.subjects = (teacher, baseline, replace(student, network=Broken()))
    answer = Reliance().answer(context)
    for kind in ("original", "background_swapped", "object_removed"):
        assert answer.value(f"accuracy_{kind}", model="kd", seed=0) == 0
        assert answer.value(f"accuracy_{kind}", model="teacher", seed=0) > 0 or kind != "original"
