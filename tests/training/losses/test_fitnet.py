"""Hints: the regressor, the grid, the stages."""

import pytest
import torch
from torch import nn

from kdlens.errors import LayerShapeError
from kdlens.training.losses import Inputs
from kdlens.training.losses.fitnet import FitNet, hint_distance


def inputs_of(mine, theirs, epoch=0):
    n = len(mine)
    return Inputs(
        torch.zeros(n, dtype=torch.long),
        torch.zeros(n, 3),
        torch.zeros(n, 3),
        student_features=(mine,),
        teacher_features=(theirs,),
        epoch=epoch,
    )


def test_the_hint_by_hand():
    mine, theirs = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 5.0]], [[0.0, 1.0]]]])
    regressor = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        regressor.weight.copy_(torch.tensor([2.0, -1.0]).view(2, 1, 1, 1))
        regressor.bias.copy_(torch.tensor([0.0, 1.0]))
    # regressed: (2, 4) and (0, -1); differences -1, -1, 0, -2
    assert hint_distance(regressor, mine, theirs).item() == pytest.approx((1 + 1 + 0 + 4) / 4)


@pytest.mark.parametrize(
    ("mine", "theirs", "weight"),
    [
        ((2, 3, 8, 8), (2, 5, 8, 8), (5, 3, 1, 1)),
        ((2, 3, 8, 8), (2, 5, 4, 4), (5, 3, 1, 1)),
        ((2, 3, 4, 4), (2, 5, 8, 8), (5, 3, 1, 1)),
        ((2, 7, 6), (2, 7, 9), (9, 6)),
        ((2, 6), (2, 9), (9, 6)),
    ],
)
def test_maps_tokens_and_vectors_get_the_regressor_they_need(mine, theirs, weight):
    loss = FitNet()
    loss.build(inputs_of(torch.randn(mine), torch.randn(theirs)))
    assert loss.regressors[0].weight.shape == weight
    assert loss(inputs_of(torch.randn(mine), torch.randn(theirs)))["hint"].isfinite()


def test_equally_wide_layers_start_from_the_identity():
    x = torch.randn(2, 4, 3, 3)
    loss = FitNet()
    loss.build(inputs_of(x, x))
    torch.testing.assert_close(loss.regressors[0](x), x)


@pytest.mark.parametrize("shapes", [((2, 3, 4, 4), (2, 5)), ((2, 7, 6), (2, 8, 6)), ((2,), (2,))])
def test_layers_that_cannot_be_compared_are_refused(shapes):
    with pytest.raises(LayerShapeError, match="a hint needs two feature maps"):
        FitNet().build(inputs_of(*(torch.zeros(shape) for shape in shapes)))


def test_the_first_stage_is_the_hint_alone():
    x = torch.randn(2, 4, 3, 3)
    loss = FitNet(hint_epochs=2, alpha=0.5)
    loss.build(inputs_of(x, x))
    assert list(loss(inputs_of(x, x, epoch=1))) == ["hint"]
    assert sorted(loss(inputs_of(x, x, epoch=2))) == ["hint", "labels", "soft_targets"]


def test_auto_takes_the_middle_of_the_paired_stages(make_network):
    example = torch.zeros(1, 3, 16, 16)
    layers = FitNet().layers(make_network(4), make_network(8), example)
    assert layers.student == layers.teacher == ("layer1",)
