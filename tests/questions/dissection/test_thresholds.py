"""Thresholds of a stream are those of all values at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import DataError
from kdlens.questions.dissection.thresholds import TopValues


def of_stream(maps, parts, **options):
    top = TopValues(maps.shape[0] * maps[0, 0].numel(), **options)
    for part in maps.split(parts):
        top.update(part)
    return top.thresholds()


def test_numbers_of_the_published_quantile():
    values = torch.arange(1000.0)[torch.randperm(1000, generator=torch.Generator().manual_seed(0))].view(40, 1, 5, 5)
    assert of_stream(values, 7, rule="netdissect").item() == pytest.approx(994.49499, abs=5e-6)
    few = torch.arange(200.0).view(8, 1, 5, 5)
    assert of_stream(few, 3, rule="netdissect").item() == pytest.approx(198.49900, abs=5e-6)
    assert of_stream(values, 7).item() == 994  # five of a thousand lie above


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 40), st.sampled_from([0.005, 0.05, 0.3]), st.integers(0, 1000))
def test_any_stream(images, parts, level, seed):
    draw = torch.Generator().manual_seed(seed)
    maps = torch.randn(images, 3, 3, 2, generator=draw).relu()
    flat = maps.transpose(0, 1).flatten(1).double()
    exact = of_stream(maps, parts, level=level)
    above = (flat > exact[:, None]).sum(1)
    assert (above <= level * flat.shape[1]).all()
    assert ((flat >= exact[:, None]).sum(1) > level * flat.shape[1]).all()  # no smaller threshold would do
    expected = np.quantile(flat.numpy(), 994 / 999, axis=1, method="hazen")
    np.testing.assert_allclose(of_stream(maps, parts, rule="netdissect"), expected, rtol=1e-12, atol=1e-15)


def test_a_unit_with_nan_has_no_threshold_and_the_others_keep_theirs():
    maps = torch.randn(30, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    clean = of_stream(maps, 4)
    maps[17, 1, 2, 2] = torch.nan
    found = of_stream(maps, 4)
    assert found[1].isnan()
    assert torch.equal(found[[0, 2]], clean[[0, 2]])


def test_a_constant_unit_is_never_above_its_threshold():
    assert of_stream(torch.full((9, 1, 4, 4), 2.5), 2).item() == 2.5


@pytest.mark.parametrize("rule", ["exact", "netdissect"])
def test_places_that_never_come_do_not_count(rule):
    """Images that cannot be read are known only when the stream has ended."""
    maps = torch.randn(40, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    top = TopValues(60 * 25, level=0.02, rule=rule)
    top.update(maps)
    assert torch.equal(top.thresholds(), of_stream(maps, 7, level=0.02, rule=rule))


def test_more_places_than_expected():
    with pytest.raises(DataError, match="differ in size"):
        TopValues(30).update(torch.zeros(1, 1, 6, 6))
