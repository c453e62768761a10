"""Counts by way of the runs of pixels are counts of pixels."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.data.concepts.annotated import Annotation
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.errors import DataError
from kdlens.questions.dissection.labelled import Labelled
from kdlens.questions.dissection.surface import find_above

WORDS = Vocabulary.of({"a": [f"a{i}" for i in range(400)], "b": [f"b{i}" for i in range(400)]})


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 7),
    st.sampled_from([3, 40, 800]),
    st.sampled_from([1, 150, 2**22]),
    st.integers(0, 10_000),
)
def test_counts_are_those_of_the_pixels(channels, side, most, kept, seed):
    draw = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, most + 1, (channels, side, side), generator=draw).int()
    image = Labelled.of(Annotation(pixels, ()), WORDS)
    maps = torch.randn(4, side, side, generator=draw)
    found = find_above(maps, torch.zeros(4).double(), (side, side))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kdlens.questions.dissection.labelled._KEPT", kept)
        hits = image.count(found)
        assert image.count(found).tolist() == hits.tolist()
    above = maps > 0
    assert hits.shape == (4, len(image.numbers))
    assert found.area.tolist() == above.flatten(1).sum(1).tolist()
    assert image.numbers.tolist() == pixels[pixels > 0].unique().tolist()
    for place, label in enumerate(image.numbers.tolist()):
        assert image.counts[place] == (pixels == label).sum()
        assert hits[:, place].tolist() == (above[:, None] & (pixels == label)).flatten(1).sum(1).tolist()


def test_a_label_in_two_masks_of_a_pixel_counts_twice():
    image = Labelled.of(Annotation(torch.ones(2, 3, 3, dtype=torch.int32), ()), WORDS)
    above = find_above(torch.ones(1, 3, 3), torch.zeros(1).double(), (3, 3))
    assert (above.area.tolist(), image.count(above).tolist(), image.counts.tolist()) == ([9], [[18.0]], [18])


@pytest.mark.parametrize(("pixels", "whole"), [(801, ()), (-1, ()), (0, (801,))])
def test_labels_nobody_knows(pixels, whole):
    with pytest.raises(DataError, match="labels run from 1 to 800"):
        Labelled.of(Annotation(torch.full((1, 2, 2), pixels), whole), WORDS)
