"""How learning dynamics are made and what they cannot be compared with, for the reader of a report."""

from typing import Any

from kdlens.answer import Notes
from kdlens.questions.knowledge.notes import NOT_COMPARABLE, SOURCES, how_measured


def notes(options: dict[str, Any]) -> Notes:
    """The notes of the question `dynamics`.

    Args:
        options: resolved, with the grid, the epochs and the way taken.
    """
    path = "single updates" if options["path"] == "per_step" else "whole epochs"
    given = "checkpoints" in options  # a list of them, with the lengths that a person gave
    summed = "as it was given with them" if given else f"summed over {path}, over their first length ||w_0||"
    return Notes(
        question="When did it learn what it knows, and by how straight a path?",
        method=how_measured(str(options["protocol"]))
        + (
            "Knowledge points are counted at every checkpoint of the training, as in the question `knowledge`, against "
            "the background's level at that checkpoint. W(m) is the distance the layer's weights have travelled by "
            f"checkpoint m, {summed}. For every image, m-hat is the first "
            "checkpoint with most points on the object. D_mean is the mean of W(m-hat) over images, D_std its standard "
            "deviation (of the population) and D_var its variance. rho is the share of the object's cells that were "
            "points at any checkpoint which are at the last, averaged over images. Probes are the same at all "
            "checkpoints and for all networks. Hypothesis 2 is supported if D_mean and D_std of the student are less, "
            "hypothesis 3 if its rho is larger, by 95 % intervals of differences paired by image (bootstrap; over "
            "several seeds Student's t interval is added in quadrature); not supported if surely not so; else "
            "inconclusive."
        ),
        how_to_read=(
            "A small D_mean: points are learned after little travelling; a small D_std: those of different images at "
            "the same time. A rho near 100 %: hardly anything was learned only to be given up. The curves show the "
            "points of student and baseline over the training, the time-lapse on which cells they lie."
        ),
        limits=(
            "W depends on learning rates and on the scale of the loss, which differ between a student and a baseline: "
            "take D as a description, and look at the epochs, too. rho falls with the number of checkpoints and with "
            "noise around the threshold, so compare it at the same checkpoints only, as is done here. "
            + NOT_COMPARABLE
            + "The published D_std is a variance (here D_var); for ResNets the published code takes m-hat one "
            "checkpoint too early; the paper's formula sums over epochs, its code over updates (both are among the "
            "numbers)."
        ),
        sources=SOURCES[:2],
        options=options,
    )
