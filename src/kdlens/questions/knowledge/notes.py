"""How knowledge points are made and what they cannot be compared with, for the reader of a report."""

from typing import Any

from kdlens.answer import Notes

SOURCES = (
    "Cheng, Rao, Chen and Zhang, Explaining knowledge distillation by quantifying the knowledge, CVPR 2020",
    "Zhang et al., Quantifying the knowledge in a DNN to explain knowledge distillation, IEEE TPAMI 45 (2023)",
    "Ma et al., Quantification and analysis of layer-wise and pixel-wise information discarding, ICML 2022",
)
NOT_COMPARABLE = (
    "Not comparable with published tables: there, the weight of the loss differs between families of networks (7 for "
    "AlexNet and VGG, 6 for ResNet), while it is one here; images were selected by the outcome (shown here beside all "
    "images); networks were ImageNet size with 16 x 16 cells of 14 pixels; and every number was of one seed without an "
    "interval. "
)
DISCARDING = (
    "Every cell of the image gets noise of its own strength, the strongest that leaves the layer's features nearly as "
    "they are; the entropy of that noise (nats) is what the layer discards of the cell. "
)
_PROTOCOLS = {
    "published": "As published, the search stops where the mean entropy is -2.8 nats, long before it converges. ",
    "converged": "The search goes to its optimum; contrasts are about three times those of the published early stop. ",
    "alpha": "The features may move by 1.5 times what uniform noise of 0.01 moves them. ",
}


def how_measured(protocol: str) -> str:
    """The measure in words."""
    return DISCARDING + _PROTOCOLS.get(protocol, "")


def notes(options: dict[str, Any]) -> Notes:
    """The notes of the question `knowledge`.

    Args:
        options: resolved, with the grid and the way taken at every layer.
    """
    level = "over all images" if options["background"] == "dataset" else "of its own image"
    return Notes(
        question="How much does it know, on the object and off it?",
        method=how_measured(str(options["protocol"]))
        + (
            "A knowledge point is a cell of which the layer discards less than of the background, by more than "
            f"{options['threshold']} nats; the background's level is the mean entropy of its cells {level}. N_fg and "
            "N_bg count the points on the object and off it, lambda = N_fg / (N_fg + N_bg). Hypothesis 1 is supported "
            "at a layer if the student has more points on the object and a larger share of its points there, both by "
            "95 % intervals of differences paired by image (bootstrap; over several seeds Student's t interval is "
            "added in quadrature); not supported if one of the two is surely not so; else inconclusive. The verdict is "
            "that of the last layer. A teacher is counted in the same way; no verdict involves it."
        ),
        how_to_read=(
            "More points on the object and fewer off it: the layer keeps what the task is about. Chance of the share "
            "is the object's part of the cells. Counts depend steeply on the threshold: read the curves. Layers are "
            "not comparable with each other, since their entropies are made equal on average. Nor are the counts of "
            "networks with different layers, such as the teacher's beside the others: look at where its points lie."
        ),
        limits=(
            NOT_COMPARABLE
            + "A cell that is kept need not be used. Cells at the object's border are half of each. An image without "
            "points counts with a share of 0."
        ),
        sources=SOURCES,
        options=options,
    )
