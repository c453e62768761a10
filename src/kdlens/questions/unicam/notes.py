"""How the numbers and maps of UniCAM are made, for the reader of a report."""

from typing import Any

from kdlens.answer import Notes

_FEATURES = (
    "Every network's features put the images of a fixed, class-balanced comparison set at certain distances. From "
    "the student's U-centred distance matrix the baseline's is projected out, M = P_s - (<P_s, P_b> / <P_b, P_b>) "
    "P_b; the unique fraction is |M|^2 / |P_s|^2, and the relevance R* = <M, P_labels> / (|M| |P_labels|). "
)
_INTERVALS = (
    " Intervals of these come from half-samples of the images without repetition, over seeds with the spread of the "
    "seeds added in quadrature; p from permuting the labels' images, corrected for the number of layers (Holm)."
)
_JOINT = (
    "Maps: a network's evidence for the label is its centred logit over its temperature, which is fitted on other "
    "images, so that it counts nats of calibrated log-odds. The evidence is traced back to the pixels by gradients "
    "from the blurred image to the image, smoothed and dealt out again where a finer map shows the same sign (or by "
    "blurring patches away), for both networks; the map is the student's "
    "less the baseline's. What lies within the null band, 95 % of the values of maps that should show nothing "
    "(baselines of different seeds, else labels of other images), is cut."
)
_PUBLISHED = (
    "A map weights each channel by the spatial mean of R*'s gradient. Distilled: student given baseline; residual: "
    "baseline given student; plain maps: nothing given. Each gallery image is compared with the comparison set "
    "alone; shares on the object are of the comparison set's own maps."
)
_CHECKS = (
    " Check: pixels are blurred away in the order of the distilled map, of the residual map and of chance, or put "
    "back into the blurred image in that order, and both networks run again; the lead is the student's evidence less "
    "the baseline's. The likeness to shuffled weights is the correlation of the student's own maps with those it has "
    "when its weights are in random order: those after its last layer, then those of the last stage as well, and so on "
    "to all; of the signed maps, and by rank of how strong they are whatever their sign. Chance there is the likeness "
    "of the real maps of different images."
)
_LIMITS = (
    "A high R* with a unique fraction near 0 is about next to nothing. p speaks of these networks, the interval over "
    "several seeds of others trained alike. The relevance of two networks can be compared at the same layer and "
    "images only. "
)


def notes(protocol: str, options: dict[str, Any]) -> Notes:
    """The notes of one protocol.

    Args:
        protocol: `"joint"` or `"published"`.
        options: of the question, resolved.
    """
    joint = protocol == "joint"
    return Notes(
        question="Where does the student look that the baseline did not, and what did it drop?",
        method=_FEATURES + (_JOINT if joint else _PUBLISHED) + _INTERVALS + _CHECKS,
        how_to_read=(
            "R* is 0 on average when what is unique is not about the labels, and at most 1. The maps of all networks "
            "and images share one scale. "
            + (
                "Distilled and residual are the two signs of one map: positive where the student has evidence for "
                "the label that the baseline has not, negative where the baseline has. "
                if joint
                else "They are positive where more activation would raise R*. "
            )
            + "The share on the object is that of the positive part of a map inside the mask; chance is the object's "
            "part of the picture. A map passes the check if deleting what it calls distilled costs the student more of "
            "its lead than deleting as much of what it calls residual."
        ),
        limits=_LIMITS
        + (
            "A map shows where the student's evidence differs, not whether it is right; both networks must name the "
            "same classes. Evidence that needs two places at once is shared between them."
            if joint
            else "The gradient runs through one network only, so evidence that both networks share still lights up: "
            "read the maps beside the plain ones."
        ),
        sources=(
            "Adhane, Dehshibi, Vetter, Masip and Roig, On explaining knowledge distillation, WACV 2025, eq. 1-6",
            "Zhen et al., On the versatile uses of partial distance correlation in deep learning, ECCV 2022",
            "Szekely and Rizzo, Partial distance correlation with methods for dissimilarities, Ann. Stat. 42 (2014)",
            *(("Sundararajan, Taly and Yan, Axiomatic attribution for deep networks, ICML 2017",) if joint else ()),
            "Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018",
        ),
        options=options,
    )
