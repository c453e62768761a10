"""Measures for use alone: of maps and gradients, of output entropies, and of how attention is shared among classes."""

from kdlens.measures.alignment import gradient_alignment
from kdlens.measures.diffroar import diffroar
from kdlens.measures.five_band import five_band
from kdlens.questions.class_similarity.entropy import within_category_entropy
from kdlens.questions.conflict.objectives import compare_objectives
from kdlens.questions.conflict.routing import attention_report
from kdlens.questions.conflict.tasks import task_distances
from kdlens.questions.conflict.tree import neural_tree

__all__ = [
    "attention_report",
    "compare_objectives",
    "diffroar",
    "five_band",
    "gradient_alignment",
    "neural_tree",
    "task_distances",
    "within_category_entropy",
]
