"""Checks of how good the networks are, and of how many images there are to tell."""

import torch

from kdlens.checks.diagnosis import Check
from kdlens.checks.patient import NotApplicableError, Patient
from kdlens.questions.phrases import counted, listed, number, points, quoted
from kdlens.stats.paired import crossed_difference, wilson

FEWEST, FEW, FEW_OF_A_CLASS = 8, 100, 5


def enough_images(patient: Patient) -> Check:
    """Too few images, or classes without any."""
    labels, n = patient.images.labels, len(patient.images)
    counts = torch.bincount(labels, minlength=patient.classes)
    present = int((counts > 0).sum())
    least = int(counts[counts > 0].min())
    name = "images"
    what = f"{counted(n, 'image')} of {counted(present, 'class', 'classes')}"
    if present < 2:
        return Check(name, "fail", f"{what}.", "Give images of at least two classes.", float(n))
    if n < FEWEST:
        return Check(name, "fail", f"Only {what}.", "Give at least 8 images; several hundred are better.", float(n))
    empty = [quoted(patient.images.classes[i]) for i in (counts == 0).nonzero().flatten().tolist()]
    if empty:
        message = f"{what}; no images of {listed(empty)}."
        return Check(name, "warn", message, "Classes without images cannot be judged.", float(n))
    if n < FEW or least < FEW_OF_A_CLASS:
        message = f"{what}, {least} of the smallest class: intervals will be wide."
        return Check(name, "warn", message, "Several hundred images, and ten or more of a class, are better.", float(n))
    return Check(name, "ok", f"{what}, at least {least} of each.", value=float(n))


def better_than_guessing(patient: Patient) -> Check:
    """Networks no better than guessing on these images."""
    name, chance = "accuracy", 1 / patient.classes
    told, bad = [], []
    for role in patient.usable():
        interval = wilson(int(patient.right(role).sum()), len(patient.y))
        told.append(f"{role} {number(100 * interval.value)} %")
        if interval.low <= chance:
            bad.append(role)
    numbers = f"{listed(told)} top-1 (guessing: {number(100 * chance)} %; n = {counted(len(patient.y), 'image')})"
    if not bad:
        return Check(name, "ok", f"{numbers}.")
    advice = (
        "Check the weights, the normalisation and the order of the classes; the checks beside this one look at each."
    )
    return Check(name, "fail", f"Not better than guessing: {listed(bad)}. {numbers}.", advice)


def teacher_is_better(patient: Patient) -> Check:
    """A teacher that is not better than the baseline has little to teach."""
    name = "teacher against baseline"
    gap = patient.right("teacher").float() - patient.right("baseline").float()
    if len(gap) < FEWEST:
        raise NotApplicableError("too few images")
    interval = crossed_difference(gap[None], seed=patient.seed)
    told = (
        f"{points(100 * interval.value, 100 * interval.low, 100 * interval.high)} top-1 "
        f"(n = {counted(len(gap), 'image')})"
    )
    if interval.low > 0:
        return Check(name, "ok", f"The teacher is better than the baseline by {told}.", value=100 * interval.value)
    worse = "worse than" if interval.high < 0 else "not clearly better than"
    advice = "There may be little to distil; look at the teacher's training, or use more images to tell."
    message = f"The teacher is {worse} the baseline: {told}."
    return Check(name, "warn", message, advice, 100 * interval.value)
