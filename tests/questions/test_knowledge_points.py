import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import kdlens
from kdlens.errors import ConfigError, DataError
from kdlens.questions.knowledge.masks import as_foreground, centre, choose_grid, on_grid, uneven
from kdlens.questions.knowledge.points import knowledge_points, passes_selection, sweep_thresholds

S0, LAMBDA, CELLS = 0.01, 7.0, 256
C = 0.5 * math.log(2 * math.pi * math.e)


def converged(energy):
    """The closed form of the converged optimum: sigma_i^2 = lambda s0^2 / (2 n w_i)."""
    weight = energy / energy.sum()
    return C + 0.5 * torch.log(LAMBDA * S0**2 / (2 * energy.numel() * weight))


def object_of_36():
    foreground = torch.zeros(1, 16, 16, dtype=torch.bool)
    foreground[:, 5:11, 5:11] = True
    return foreground


def test_the_closed_form_of_two_energies():
    """f = 2x on 36 cells and x elsewhere: the entropies differ by ln 2."""
    foreground = object_of_36()
    entropy = converged(torch.where(foreground, 4.0, 1.0).double())
    for threshold in (0.2, 0.6, 0.6931):
        found = knowledge_points(entropy, foreground, threshold)
        assert (found.on_object.item(), found.off_object.item(), found.share.item()) == (36, 0, 1)
    assert knowledge_points(entropy, foreground, 0.6932).on_object.item() == 0
    assert entropy[~foreground].mean() - entropy[foreground].mean() == pytest.approx(math.log(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("background", ["dataset", "image"])
def test_more_than_the_threshold_is_strict(dtype, background):
    """f = e^0.2 x on the object: a difference of exactly 0.2 is not more than 0.2, up to rounding."""
    foreground = object_of_36()
    energy = torch.ones(1, 16, 16, dtype=torch.float64).masked_fill(foreground, math.exp(0.4))
    entropy = converged(energy).to(dtype)
    assert knowledge_points(entropy, foreground, 0.2, background).on_object.item() == 0
    assert knowledge_points(entropy, foreground, 0.2 - 1e-6, background).on_object.item() == 36
    assert knowledge_points(entropy, foreground, 0.2 + 1e-6, background).on_object.item() == 0


def test_the_selection_free_early_stop_of_two_energies():
    """The published early stop: -3.0943 on the object, -2.7488 elsewhere."""
    foreground = object_of_36()
    entropy = torch.where(foreground, -3.0943, -2.7488)
    assert knowledge_points(entropy, foreground, 0.3454).on_object.item() == 36
    assert knowledge_points(entropy, foreground, 0.3456).on_object.item() == 0


def test_an_image_without_points_has_share_0():
    found = knowledge_points(torch.zeros(1, 4, 4), centre(1, 4))
    assert found.share.item() == 0
    assert found.chance.item() == 0.25
    assert found.without_points == 1


def test_the_level_is_of_all_images_or_of_each():
    entropy = torch.tensor([[[-3.0, -2.0, -2.0]], [[-4.0, -4.0, -4.0]]])
    foreground = torch.tensor([[[True, False, False]]] * 2)
    whole = knowledge_points(entropy, foreground)
    assert whole.level.tolist() == [-3.0, -3.0]
    assert whole.kept.int().tolist() == [[[0, 0, 0]], [[1, 1, 1]]]
    own = knowledge_points(entropy, foreground, background="image")
    assert own.level.tolist() == [-2.0, -4.0]
    assert own.kept.int().tolist() == [[[1, 0, 0]], [[0, 0, 0]]]


def test_the_level_is_a_mean_of_images_whatever_their_objects_cover():
    entropy = torch.tensor([[[0.0, 0.0, -1.0, -1.0]], [[0.0, -3.0, -3.0, -3.0]]])
    foreground = torch.tensor([[[True, True, False, False]], [[True, False, False, False]]])
    assert knowledge_points(entropy, foreground).level[0].item() == -2


def test_images_that_cannot_be_counted_leave_the_others_as_they_are():
    torch.manual_seed(0)
    entropy, foreground = torch.randn(5, 6, 6), centre(5, 6)
    entropy[1, 0, 0] = torch.nan
    foreground[2] = True
    foreground[3] = False
    found = knowledge_points(entropy, foreground)
    assert found.counted.tolist() == [True, False, False, False, True]
    assert (found.rejected, found.without_background, found.without_object) == (1, 1, 1)
    alone = knowledge_points(entropy[[0, 4]], foreground[[0, 4]])
    assert torch.equal(found.kept[[0, 4]], alone.kept)
    assert torch.equal(found.share[[0, 4]], alone.share)
    assert found.on_object[1:4].isnan().all()
    assert not found.kept[1:4].any()


def test_nothing_to_count_at_all():
    found = knowledge_points(torch.full((2, 3, 3), torch.nan), centre(2, 3))
    assert not found.counted.any()
    assert found.rejected == 2


def test_the_published_selection():
    torch.manual_seed(0)
    entropy, foreground = torch.randn(40, 8, 8), centre(40, 8)
    chosen = passes_selection(entropy, foreground)
    assert 5 < chosen.sum() < 35
    found = knowledge_points(entropy, foreground, selection=True)
    assert torch.equal(found.counted, chosen)
    alone = knowledge_points(entropy[chosen], foreground[chosen])
    assert torch.equal(found.on_object[chosen], alone.on_object)
    # choosing by the outcome favours the hypothesis even on noise
    every = knowledge_points(entropy, foreground)
    assert found.share[chosen].mean() > every.share.mean()


def test_shuffled_cells_give_the_object_its_share_by_chance():
    """Oracle of the border rule: 144 of 256 cells."""
    torch.manual_seed(0)
    entropy, foreground = torch.zeros(1, 256), centre(1, 16)
    entropy[:, :40] = -1.0
    shuffled = torch.stack([entropy[0, torch.randperm(256)].reshape(16, 16) for _ in range(2000)])
    found = knowledge_points(shuffled, foreground.expand(2000, 16, 16), background="image")
    error = found.share.std().item() / math.sqrt(2000)
    assert found.chance[0].item() == 144 / 256 == 0.5625
    assert abs(found.share.mean().item() - 0.5625) < 4 * error


def test_a_sweep_falls_with_the_threshold():
    torch.manual_seed(1)
    counts = torch.stack([f.on_object + f.off_object for f in sweep_thresholds(torch.randn(6, 8, 8), centre(6, 8))])
    assert (counts.diff(dim=0) <= 0).all()
    assert counts[0].sum() > counts[-1].sum()


def test_identical_networks_have_identical_points():
    torch.manual_seed(2)
    entropy, foreground = torch.randn(6, 8, 8), centre(6, 8)
    first, second = (knowledge_points(entropy.clone(), foreground) for _ in range(2))
    for name in ("kept", "on_object", "off_object", "share", "level"):
        assert torch.equal(getattr(first, name), getattr(second, name))


@given(st.integers(0, 2**31 - 1))
def test_moving_every_entropy_changes_nothing(seed):
    generator = torch.Generator().manual_seed(seed)
    entropy = torch.randn(3, 5, 5, generator=generator, dtype=torch.float64)
    moved = knowledge_points(entropy + 1.75, centre(3, 5))
    assert torch.equal(moved.kept, knowledge_points(entropy, centre(3, 5)).kept)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"foreground": torch.zeros(2, 3, 4, dtype=torch.bool)}, DataError, r"\(2, 3, 3\) and \(2, 3, 4\)"),
        ({"foreground": torch.zeros(2, 3, 3)}, DataError, "torch.float32"),
        ({"entropy": torch.zeros(2, 3, 3, dtype=torch.int64)}, DataError, "floating point"),
        ({"threshold": -0.1}, ConfigError, "got -0.1"),
        ({"threshold": math.nan}, ConfigError, "got nan"),
        ({"background": "own"}, ConfigError, 'got "own"'),
    ],
)
def test_wrong_input_is_named(change, error, text):
    given = {"entropy": torch.zeros(2, 3, 3), "foreground": centre(2, 3), **change}
    with pytest.raises(error, match=text):
        kdlens.knowledge_points(**given)


def test_half_of_a_cell_makes_it_the_objects():
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :2, :2] = True  # 4 of 16 pixels of the first cell, and no other
    assert on_grid(mask, 2).int().tolist() == [[[1, 0], [0, 0]]]  # the fullest cell, as none is half full
    mask[0, 4:, 2:4] = True  # 8 of 16 pixels of the third
    assert on_grid(mask, 2).int().tolist() == [[[0, 0], [1, 0]]]
    assert not on_grid(torch.zeros(1, 8, 8, dtype=torch.bool), 2).any()


def test_nearest_is_what_torch_calls_nearest():
    torch.manual_seed(0)
    masks = torch.rand(3, 37, 50) > 0.5
    wanted = torch.nn.functional.interpolate(masks[:, None].float(), (16, 12), mode="nearest")[:, 0] > 0
    assert torch.equal(on_grid(masks, (16, 12), rule="nearest"), wanted)


@pytest.mark.parametrize("side", [227, 33, 16])
def test_a_mask_of_whole_cells_comes_back(side):
    torch.manual_seed(0)
    cells = torch.rand(2, 16, 16) > 0.6
    masks = torch.nn.functional.interpolate(cells[:, None].float(), (side, side), mode="nearest")[:, 0] > 0
    assert torch.equal(on_grid(masks, 16), cells)


def test_foreground_is_given_in_pixels_or_in_cells():
    grey = torch.zeros(1, 32, 32)
    grey[0, 8:16, 8:16] = 0.3
    found = as_foreground(grey, (32, 32), (8, 8))
    assert int(found.sum()) == 4
    assert torch.equal(as_foreground(found.float(), (32, 32), (8, 8)), found)
    with pytest.raises(DataError, match="32 x 32 pixels, or of the grid, 8 x 8 cells; got \\(1, 30, 30\\)"):
        as_foreground(torch.zeros(1, 30, 30), (32, 32), (8, 8))


def test_masks_that_cannot_be_brought_onto_the_grid():
    with pytest.raises(DataError, match="8 x 8 pixels are smaller than a grid of 16 x 16"):
        on_grid(torch.zeros(1, 8, 8, dtype=torch.bool), 16)
    with pytest.raises(DataError, match="bool"):
        on_grid(torch.zeros(1, 8, 8), 4)
    with pytest.raises(ConfigError, match='got "most"'):
        on_grid(torch.zeros(1, 8, 8, dtype=torch.bool), 4, rule="most")
    with pytest.raises(ConfigError, match="3 x 3"):
        centre(1, 2)


@given(st.integers(3, 300), st.integers(3, 300))
def test_the_grid_chosen_fits(height, width):
    cells = choose_grid(height, width)
    assert 1 <= cells <= 16
    assert cells * 2 <= max(2, min(height, width))
    assert uneven((height, width), (cells, cells)) <= 4
