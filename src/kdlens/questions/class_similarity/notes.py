"""How the class-similarity numbers were made, for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from kdlens.answer import Notes
from kdlens.questions.class_similarity.confusions import FALSE, LEAST
from kdlens.questions.phrases import number

if TYPE_CHECKING:
    from kdlens.questions.class_similarity.question import ClassSimilarity

RULE = (
    "arrived if the 95 % interval of the gain lies above 0, at the stated temperature and at the teacher's confidence "
    "alike; moved away if both lie below 0; did not arrive if both hold 0 and stay within the margin of {margin}; "
    "inconclusive otherwise"
)


def notes_of(question: "ClassSimilarity", categories: Mapping[str, Sequence[str]]) -> Notes:
    """The notes of an answer with these options and categories."""
    return Notes(
        question="Did the teacher's class similarity arrive?",
        method=_method(question),
        how_to_read=(
            "A row of a matrix says how the other classes share what a network leaves to wrong ones on images of that "
            "class. The rank correlation is 1 if a network has the teacher's order of the others for every class, 0 "
            "by chance. The baseline has learned from the same images, so only the gain over it can come from the "
            "teacher. An entropy within categories is higher if more probability goes to classes of the same "
            "category; it is 0 if none does and log |C| if it is shared evenly. A softer network has a higher one "
            "without knowing more: compare at one confidence."
        ),
        limits=(
            "The exact definition behind the published entropies could not be confirmed; the variant used is stated "
            "among the options, and only its direction can be compared with the paper. Few images of a class make its "
            "row noise, which lowers every correlation. Correlations include how attractive a class is for all others. "
            "The teacher's categories are clusters of its own similarity, not facts about the classes. One seed speaks "
            "of these networks, not of the method. Whether a confusion is named is guarded against many pairs over "
            "images; over training runs, only its own interval guards it."
        ),
        sources=(
            "Han, Kim, Choi and Yoon, On the impact of knowledge distillation for model interpretability, ICML 2023",
            "Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, 2015 (what wrong answers tell)",
            "Mantel, Cancer Research 27 (1967)",
            "Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995)",
            "Rousseeuw, Journal of Computational and Applied Mathematics 20 (1987) (silhouette)",
        ),
        options={**asdict(question), "categories": {name: list(group) for name, group in categories.items()}},
    )


def _method(question: "ClassSimilarity") -> str:
    each = "for each class, and averaged over classes" if question.over == "rows" else "over all pairs at once"
    made = f"mean probabilities at temperature {question.temperature:g}, diagonal left out, rows divided by their sum"
    made = made if question.of == "probabilities" else "mean logits less their mean, diagonal left out"
    rule = RULE.format(margin=number(question.margin, 2))
    return (
        f"Similarity matrices: {made}. They are compared with the teacher's by Spearman's rank correlation {each}. "
        "Intervals: images drawn anew within every class, the same draws for all networks, moved to the measured "
        "value; with several seeds, the spread over seeds by Student's t is added in quadrature. Chance and p: the "
        "teacher's classes relabelled (Mantel test). At the teacher's confidence: every network at the temperature at "
        f"which its mean largest probability is the teacher's. Verdict: {rule}. Entropy within categories: mean over "
        "the images of a category C of H(p restricted to C), then over categories; the teacher's categories are found "
        "by average linkage on half of the images (as many as the best silhouette says) and used on the other half. "
        f"Confusions: a pair is tested where two networks differ on {LEAST} images or more, image by image, exactly; p "
        "has Benjamini and Hochberg's correction for the number of pairs. A pair is named if that p is below "
        f"{number(FALSE, 2)} and the 95 % interval, over images and seeds, excludes 0. The teacher finds a pair alike "
        "if it gives it more than an even share of what it leaves to wrong classes."
    )
