"""How detectors are counted, for the reader of a report."""

from typing import Any

from kdlens.answer import Notes
from kdlens.data.concepts.annotated import ConceptData
from kdlens.questions.dissection.result import Dissection
from kdlens.questions.phrases import counted, listed

_RULES = {
    "paper": "in images with any label of its category (the definition of Bau et al.)",
    "netdissect-lite": "in images where the unit hits a label of its category (as NetDissect-Lite and Han et al. "
    "count, which makes IoUs larger)",
}


def notes(options: dict[str, Any], concepts: ConceptData, one: Dissection | None) -> Notes:
    """The notes of the question.

    Args:
        options: as asked.
        concepts: the annotated images.
        one: any of the dissections.
    """
    used = 0 if one is None else one.images
    words = concepts.vocabulary
    labels = 0 if one is None else int(one.allowed.sum())
    data = (
        f"{counted(used, 'image')} of {concepts.name}, {counted(labels, 'label')} of {listed(list(words.categories))}"
    )
    return Notes(
        question="Which concepts do its units detect?",
        method=(
            "A unit is active where its activation, enlarged bilinearly to the masks, exceeds a threshold T that it "
            f"exceeds at a share {options['level']:g} of all places. Its IoU with a label is |active and label| / "
            f"|active or label|, both summed over all images; activations count {_RULES[options['category_rule']]}. "
            f"A unit whose best IoU is {options['threshold']:g} or more is a detector of that label. "
            f"Annotated images: {data}. Intervals: jackknife over ten groups of images, the same for all networks, and "
            "Student's t over seeds, in quadrature. Chance: the same counts with the masks dealt to other images, p "
            "the share of deals that count as many. Held out: the label chosen on one half of the images, the IoU "
            "taken on the other. Rotated: the features in random orthogonal bases."
        ),
        how_to_read=(
            "More detectors: more units that follow something a person has a word for. Read a count beside its chance, "
            "a gain by its interval, and both over several thresholds, since .04 is a convention. Unique detectors are "
            "different labels. With several seeds a concept is gained if the student detects it in every seed and the "
            "baseline in none."
        ),
        limits=(
            "Only concepts that are annotated can be found, and a unit may follow something else that goes with a "
            "label. Counts depend on the annotated images, the number of units, the category rule and the scale of the "
            "images: compare within this table. Large labels win in layers of few places, rare ones by chance. A "
            "detector need not matter for what the network answers."
        ),
        sources=(
            "Bau, Zhou, Khosla, Oliva and Torralba, Network dissection, CVPR 2017, section 3.1",
            "Han, Kim, Choi and Yoon, On the impact of knowledge distillation for model interpretability, ICML 2023",
        ),
        options=options | {"annotated images": concepts.name, "images used": used, "labels considered": labels},
    )
