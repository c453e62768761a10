"""When the fast backend is refused for what single cells spend."""

import pytest
import torch

from kdlens.questions.discarding.acceptance import SCATTER, _problem


@pytest.mark.parametrize(
    ("scatter", "uncertain", "refused"),
    [
        (0.05, 0.0, False),
        (0.15, 0.0, True),  # more than allowed, and sure of it
        (0.15, 0.02, False),  # perhaps by chance
        (0.3, 0.05, True),  # so much that no uncertainty excuses it
    ],
)
def test_scatter_of_single_cells(scatter, uncertain, refused):
    even = torch.ones(5), torch.zeros(5)
    reason = _problem(1.0, 1.0, *even, scatter**2, uncertain)
    assert ("scatters" in reason) == refused
    assert SCATTER == 0.1
