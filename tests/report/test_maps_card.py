"""The card of a UniCAM result in a notebook."""

import pytest
import torch

from kdlens.models.load import load_model
from kdlens.questions.unicam.unicam import unicam


@pytest.mark.parametrize("protocol", ["joint", "published"])
def test_the_first_maps_on_one_scale_without_script(protocol):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nets = [load_model("resnet8", classes=4) for _ in range(2)]
    images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    result = unicam(*nets, images, torch.arange(12) % 4, protocol=protocol)
    card = result._repr_html_()
    assert card.count("<img") == 8
    assert "the first 8 of 12" in card
    assert f"{protocol} protocol" in card
    assert "maps depend on the images beside them" in card
    assert ("null band" in card) == (protocol == "joint")
    assert "<script" not in card
    assert len(card) < 100_000
