"""Measures for use alone: five-band score, DiffROAR, alignment of gradients with objects, entropy within categories."""

from kdlens.measures.alignment import gradient_alignment
from kdlens.measures.diffroar import diffroar
from kdlens.measures.five_band import five_band
from kdlens.questions.class_similarity.entropy import within_category_entropy

__all__ = ["diffroar", "five_band", "gradient_alignment", "within_category_entropy"]
