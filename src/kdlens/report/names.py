"""Names of measures and questions for people, and names for anchors."""

import re
from collections.abc import Iterable

METRICS = {
    "top1": "Top-1 accuracy",
    "top1_gain": "Gain in top-1",
    "ece": "Calibration error (ECE)",
    "ece_adaptive": "Calibration error, equal bins",
    "nll": "Log-loss",
    "brier": "Brier score",
    "agreement": "Agreement with the teacher",
    "kl_to_teacher": "KL from the teacher",
    "class_gain": "Gain by class",
    "helped_images": "Helped images",
    "hurt_images": "Hurt images",
    "relevance_distilled": "Relevance of distilled features",
    "relevance_residual": "Relevance of residual features",
    "unique_fraction_distilled": "Unique to the student",
    "unique_fraction_residual": "Unique to the baseline",
    "share_on_object_teacher": "Share on the object, teacher",
    "share_on_object_student": "Share on the object, student",
    "share_on_object_baseline": "Share on the object, baseline",
    "share_on_object_distilled": "Share on the object, distilled",
    "share_on_object_residual": "Share on the object, residual",
    "share_on_object_gain": "Share on the object, gain",
    "degenerate_maps": "Empty maps, distilled",
    "degenerate_maps_residual": "Empty maps, residual",
    "fss": "Feature similarity (FSS)",
    "rs_layer": "Relevance (RS)",
    "rs_distilled": "RS of distilled features",
    "rs_residual": "RS of residual features",
    "accuracy_original": "Original image",
    "accuracy_background_swapped": "Background swapped",
    "accuracy_object_removed": "Object removed",
    "accuracy_background_same_class": "Background of the same class",
    "answers_changed": "Answers another background changes",
    "background_gap": "Background gap",
    "rs_difference": "RS, distilled minus residual",
    "fss_gain": "Gain in likeness to the teacher",
    "background_reliance": "Reliance on the background",
    "background_reliance_change": "Change in reliance on the background",
    "answers_changed_change": "Change in answers another background changes",
    "top1_gain_by_seed": "Gain in top-1, over seeds alone",
    "teacher_advantage": "Teacher's lead over the baseline",
    "agreement_gain": "Gain in agreement with the teacher",
    "kl_change": "Change in KL from the teacher",
    "nll_change": "Change in log-loss",
    "top1_gain_resampled": "Gain in top-1, seeds and images resampled",
    "relevance_difference": "Relevance, distilled minus residual",
    "rs_distilled_conditioned": "RS of what distilled maps keep",
    "rs_residual_conditioned": "RS of what residual maps keep",
    "fss_conditioned": "FSS on what the maps keep",
    "rs_mask_only": "RS of the maps' shape alone",
    "layer_chosen": "Halves that choose the layer",
    "lead": "Student's lead in evidence",
    "deletion_distilled": "Lead lost, distilled region deleted",
    "deletion_residual": "Lead lost, residual region deleted",
    "deletion_random": "Lead lost, as much deleted anywhere",
    "deletion_difference": "Lead lost, distilled minus residual",
    "insertion_distilled": "Lead won, distilled region inserted",
    "insertion_residual": "Lead won, residual region inserted",
    "insertion_random": "Lead won, as much inserted anywhere",
    "insertion_difference": "Lead won, distilled minus residual",
    "maps_in_null_band": "Maps within the null band",
    "points_on_object": "Points on the object (N_fg)",
    "points_off_object": "Points off the object (N_bg)",
    "points_share": "Share of points on the object (lambda)",
    "points_on_object_gain": "Gain in points on the object",
    "points_off_object_gain": "Gain in points off the object",
    "points_share_gain": "Gain in the share of points on the object",
    "points_on_object_selected_gain": "Gain in points on the object, selected images",
    "points_off_object_selected_gain": "Gain in points off the object, selected images",
    "points_share_selected_gain": "Gain in the share of points, selected images",
    **{
        f"d_{kind}_{path}{ending}": f"{said} (D_{kind}), {how}{more}"
        for kind, said in (("mean", "Path to most points"), ("std", "Spread of that path"), ("var", "Its variance"))
        for path, how in (("per_step", "by updates"), ("per_epoch", "by epochs"))
        for ending, more in (("", ""), ("_change", ", change"))
    },
    "rho": "Points that stayed (rho)",
    "rho_gain": "Gain in points that stayed",
    "epoch_of_most_points": "Epoch of most points",
    "epoch_of_most_points_change": "Change in the epoch of most points",
    "checkpoint_of_most_points": "Checkpoint of most points",
    "checkpoint_of_most_points_change": "Change in the checkpoint of most points",
    "similarity_gain": "Gain in class similarity",
    "similarity_matched_gain": "Gain in class similarity, at one confidence",
    "similarity_correlation": "Class similarity like the teacher's",
    "similarity_matched_correlation": "Class similarity like the teacher's, at one confidence",
    "similarity_split_half": "Class similarity of two halves of the images",
    "similarity_temperature_matched": "Temperature of the matrices at one confidence",
    "within_category_entropy": "Entropy within categories",
    "within_category_entropy_matched": "Entropy within categories, at one confidence",
    "within_category_entropy_gain": "Gain in entropy within categories",
    "within_category_entropy_matched_gain": "Gain in entropy within categories, at one confidence",
    "temperature_matched": "Temperature at one confidence",
    "confusion_rate": "How often the pair is confused",
    "confusion_transferred": "Confusion from the teacher",
    "confusion_own": "Confusion of the student's own",
    "confusion_dropped": "Confusion made less often",
    "confusion_missing": "Confusion that did not arrive",
    "confusion_undecided": "Confusion without a clear difference",
    "share_of_wrong": "Share of what is left to wrong classes",
    "conflict_rate": "Pairs of classes in conflict",
    "conflict_rate_change": "Change in pairs in conflict",
    "conflict_cosine": "Mean cosine of the classes' gradients",
    "conflict_cosine_change": "Change in mean cosine of gradients",
    "pair_cosine": "Cosine of the pair's gradients",
    "pair_stopped": "Pair that stopped pulling apart, change in cosine",
    "pair_started": "Pair that started pulling apart, change in cosine",
    "pair_moved": "Pair without a sure change of sign, change in cosine",
    "attention_entropy": "Entropy of attention",
    "attention_entropy_change": "Change in entropy of attention",
    "attention_information": "Information of attention about who reads",
    "attention_information_change": "Change in information of attention",
    "attention_spread": "Spread of the attention's raw logits",
    "attention_temperature": "Temperature of attention",
    "tree_purity": "Purity of the classes of one expert",
    "tree_ari": "Classes of one expert against superclasses (ARI)",
    "routing_ari": "Clusters of attention against superclasses (ARI)",
    "routing_purity": "Purity of clusters of attention",
    "vam_top1_trained": "Top-1, virtual attention as trained",
    "vam_top1_even": "Top-1, virtual attention even",
    "vam_top1_change": "Top-1, trained minus even attention",
    "vam_nll_trained": "Log-loss, virtual attention as trained",
    "vam_nll_even": "Log-loss, virtual attention even",
    "vam_nll_change": "Log-loss, trained minus even attention",
    "vam_parameters": "Parameters of virtual attention",
    "vam_parameters_share": "Parameters of virtual attention, share of all",
    "detectors": "Concept detectors",
    "detectors_share": "Concept detectors, share of the units",
    "unique_detectors": "Concepts detected",
    "detectors_held_out": "Concept detectors, held out",
    "detectors_also": "Concept detectors, at the second threshold",
    "detectors_other_rule": "Concept detectors, by the other category rule",
    "detectors_in_category": "Concept detectors by category",
    "detectors_sweep": "Concept detectors by threshold",
    "detectors_rotated": "Concept detectors in random bases",
    "detectors_gain": "Gain in concept detectors",
    "detectors_share_gain": "Gain in concept detectors, share of the units",
    "unique_detectors_gain": "Gain in concepts detected",
    "detectors_held_out_gain": "Gain in concept detectors, held out",
    "detectors_also_gain": "Gain in concept detectors, at the second threshold",
    "detectors_other_rule_gain": "Gain in concept detectors, by the other category rule",
    "detectors_in_category_gain": "Gain in concept detectors by category",
    "concepts_gained": "Concepts gained",
    "concepts_kept": "Concepts kept",
    "concepts_lost": "Concepts lost",
    "concept_units": "Units that detect the concept",
    "concept_gained_change": "Concept gained, change in units",
    "concept_kept_change": "Concept kept, change in units",
    "concept_lost_change": "Concept lost, change in units",
    "concept_mixed_change": "Concept of some seeds only, change in units",
    "unit_gained": "IoU of a unit, concept gained",
    "unit_kept": "IoU of a unit, concept kept",
    "unit_lost": "IoU of a unit, concept lost",
    "map_likeness_shuffled": "Likeness of maps to shuffled weights",
    "map_likeness_cascade": "Likeness of maps, weights shuffled from the head",
    "map_rank_likeness_cascade": "Likeness of maps by rank of strength, weights shuffled from the head",
}
RESERVED = {"content", "verdict", "alerts", "models", "data", "methods", "making"}
"""Anchors of the page itself."""

TITLES = {
    "accuracy": "Accuracy in detail",
    "unicam": "Where the networks look",
    "relevance": "Layer by layer",
    "reliance": "Object or background",
    "knowledge": "What the networks know",
    "dynamics": "When they learned it",
    "dissection": "Which concepts units detect",
    "conflict": "Conflicts between classes",
}


def metric_name(metric: str) -> str:
    """A measure's name for people.

    Example:
        >>> metric_name("fss"), metric_name("fss_null"), metric_name("knowledge_points_fg")
        ('Feature similarity (FSS)', 'Feature similarity (FSS), by chance', 'Knowledge points fg')
    """
    if metric.endswith("_null"):
        return f"{metric_name(metric.removesuffix('_null'))}, by chance"
    return METRICS.get(metric) or sentence_case(metric)


def title_of(question: str) -> str:
    """A question's title in the report.

    Example:
        >>> title_of("unicam"), title_of("class_similarity")
        ('Where the networks look', 'Class similarity')
    """
    return TITLES.get(question) or sentence_case(question)


def sentence_case(name: str) -> str:
    """An identifier as words, the first with a capital.

    Example:
        >>> sentence_case("my_new-measure")
        'My new measure'
    """
    words = re.sub(r"[_\-.]+", " ", name).strip()
    return words[:1].upper() + words[1:]


def anchors(questions: Iterable[str]) -> dict[str, str]:
    """A distinct anchor for every question, of letters, digits and hyphens only.

    Example:
        >>> anchors(["accuracy", "Ünï cam!", "n cam", "models"])
        {'accuracy': 'accuracy', 'Ünï cam!': 'n-cam', 'n cam': 'n-cam-2', 'models': 'models-2'}
    """
    found: dict[str, str] = {}
    for question in questions:
        slug = re.sub(r"[^a-z0-9]+", "-", question.lower()).strip("-") or "question"
        taken, number, name = RESERVED | set(found.values()), 1, slug
        while name in taken:
            number += 1
            name = f"{slug}-{number}"
        found[question] = name
    return found
