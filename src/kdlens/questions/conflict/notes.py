"""How the numbers about conflicts were made, for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kdlens.answer import Notes
from kdlens.questions.conflict.pairs import FALSE, LARGE, LEAST
from kdlens.questions.phrases import number

if TYPE_CHECKING:
    from kdlens.questions.conflict.question import Conflict

_TASK = {
    "binary": (
        'Class c is the question "is it c?" on all images of a batch, with the binary cross-entropy of the network\'s '
        "answer to it: sigmoid(u_c), u_c the logit of c, or for a softmax its exact marginal logit z_c - log of the "
        "sum of exp of the others"
    ),
    "images": "Class c is its images in a batch, with their cross-entropy",
}


def notes_of(question: "Conflict", resolved: Mapping[str, Any], superclasses: Mapping[str, Sequence[str]]) -> Notes:
    """The notes of an answer with these options, layers and superclasses."""
    return Notes(
        question="How does it settle conflicts between classes?",
        method=_method(question),
        how_to_read=(
            "Below 0, a step that helps one class hurts the other, in the layer they share; near 0 they do not meet. "
            "Chance says what the architecture and the shares of classes alone bring about, so read rates beside it. "
            "Fewer conflicts are not better in themselves: a network that fits its images hardly pulls at all, in "
            "directions that are little more than noise. Entropy of attention is between 0 (each reads one expert) and "
            "ln N (each reads all alike); information is 0 where all classes read alike. The tree keeps the largest "
            "weight of every row; with a small margin another seed would give another tree."
        ),
        limits=(
            "Gradients at the end of training, in eval mode, say nothing of conflicts on the way there. One step of "
            "one layer is meant, without momentum and weight decay. The cosine of two classes depends on the batch "
            "size. Softer outputs have other gradients. What the paper reports of entropy could not be confirmed here: "
            "on a small synthetic task distilled mixtures had the higher entropy, so no direction is claimed. Virtual "
            "attention is compared with even attention in the trained network, which has learned to rely on it. One "
            "seed speaks of these networks, not of the method."
        ),
        sources=(
            "Xue, Song, Chen, Wang, Wang, Song, KDExplainer, IJCAI 2021 (tasks, attention over experts, its entropy, "
            "trees, virtual attention)",
            "Yu, Kumar, Gupta, Levine, Hausman, Finn, Gradient surgery for multi-task learning, NeurIPS 2020 (cosine "
            "of task gradients)",
            "Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995)",
            "Hubert and Arabie, Journal of Classification 2 (1985) (adjusted Rand index)",
        ),
        options={**asdict(question), **resolved, "superclasses": {n: list(g) for n, g in superclasses.items()}},
    )


def _method(question: "Conflict") -> str:
    chance = (
        "Chance: the labels dealt anew among the images of every batch, the same way for all networks. "
        if question.chance
        else ""
    )
    return (
        f"{_TASK[question.task]}. g_c is the gradient of its mean loss with respect to all parameters of the layer; "
        "C_cd the cosine of g_c and g_d; the conflict rate the share of pairs with C_cd < 0, mean over batches. "
        "Batches hold different images, the classes alike, and are the same for all networks. Intervals: Student's t "
        "over batches; with several seeds, their spread is added in quadrature. "
        f"{chance}Verdict: by the interval of the change in conflict rate, student minus baseline: below 0 fewer, "
        f"above 0 more, within {number(question.margin)} points of 0 as many, else inconclusive. Pairs: named where "
        f"the mean cosine goes from below -{number(LARGE, 2)} to above {number(LARGE, 2)} or back, the t test over "
        f"batches ({LEAST} or more) has p below {number(FALSE, 2)} with Benjamini and Hochberg's correction for the "
        "number of pairs, and the interval over batches and seeds excludes 0. Attention: entropy "
        "-sum a ln a of every row, mean over rows; information H(mean row) - mean H(row); grouping by the last "
        "expert of every class, and by average linkage on the root of the Jensen-Shannon divergence of rows, against "
        "superclasses dealt anew among the classes."
    )
