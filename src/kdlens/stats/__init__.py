"""Mathematics on tensors: distance statistics and resampling. Knows nothing of networks, images or files."""

from kdlens.stats.distance import (
    distance_correlation,
    partial_distance_correlation,
    project_out,
    semipartial_distance_correlation,
    u_centered_distances,
    u_product,
)
from kdlens.stats.resampling import (
    Interval,
    bootstrap,
    bootstrap_mean,
    holm,
    mcnemar,
    permutation_p,
    permutations,
    seed_interval,
)

__all__ = [
    "Interval",
    "bootstrap",
    "bootstrap_mean",
    "distance_correlation",
    "holm",
    "mcnemar",
    "partial_distance_correlation",
    "permutation_p",
    "permutations",
    "project_out",
    "seed_interval",
    "semipartial_distance_correlation",
    "u_centered_distances",
    "u_product",
]
