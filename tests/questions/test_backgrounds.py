import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import ConfigError, DataError
from kdlens.questions.reliance.backgrounds import choose_donors, on_background, usable, without_object


def image(rows):
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def test_tiles_of_the_widest_strip_fill_the_box():
    # object 9 in the middle of column 2; left strip (2 columns) is the widest
    x = image([[1, 2, 3, 4], [5, 6, 9, 7], [8, 0, 9, 3], [4, 5, 6, 7]])
    x = torch.cat([x, 10 * x], 1)
    filled = without_object(x, (x[:, 0] == 9))
    assert filled[0, 0].tolist() == [[1, 2, 3, 4], [5, 6, 5, 7], [8, 0, 8, 3], [4, 5, 6, 7]]
    assert torch.equal(filled[0, 1], 10 * filled[0, 0])


def test_tiles_from_above_keep_their_columns_and_repeat_their_rows():
    x = image([[1, 2, 3], [4, 5, 6], [9, 9, 9], [9, 9, 9], [9, 9, 9]])
    assert without_object(x, x[:, 0] == 9)[0, 0].tolist() == [[1, 2, 3], [4, 5, 6], [1, 2, 3], [4, 5, 6], [1, 2, 3]]


def test_the_box_is_filled_so_that_no_outline_is_left():
    x = image([[0, 0, 0, 0, 0], [0, 9, 1, 0, 0], [0, 1, 9, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    assert without_object(x, x[:, 0] == 9).abs().sum() == 0
    outlined = without_object(x, x[:, 0] == 9, fill="mean")
    assert outlined[0, 0, 1, 1] == pytest.approx(2 / 23)
    assert outlined[0, 0, 1, 2] == 1


def test_a_box_that_touches_all_sides_is_filled_with_the_mean():
    x = image([[9, 1], [3, 9]])
    assert without_object(x, x[:, 0] == 9)[0, 0].tolist() == [[2, 1], [3, 2]]


def test_objects_stay_exactly_and_backgrounds_come_from_the_donor():
    x, masks = torch.rand(3, 3, 6, 6), torch.rand(3, 6, 6) < 0.4
    background = torch.rand(3, 3, 6, 6)
    made = on_background(x, masks, background)
    inside = masks[:, None].expand_as(x)
    assert torch.equal(made[inside], x[inside])
    assert torch.equal(made[~inside], background[~inside])
    assert not torch.equal(made, on_background(background, masks, x))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), st.integers(0, 99), st.booleans())
def test_donors_are_of_the_right_class_and_never_the_image_itself(labels, seed, same):
    labels = torch.tensor(labels)
    donors = choose_donors(labels, seed=seed, same_class=same)
    assert torch.equal(donors, choose_donors(labels, seed=seed, same_class=same))
    for i, donor in enumerate(donors.tolist()):
        if donor >= 0:
            assert donor != i
            assert (labels[donor] == labels[i]) == same
        else:
            assert (labels == labels[i]).sum() == (1 if same else len(labels))


def test_the_random_state_is_not_touched():
    before = torch.get_rng_state()
    choose_donors(torch.arange(6) % 2, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_bad_masks_are_refused():
    x = torch.rand(2, 3, 4, 4)
    with pytest.raises(DataError, match=r"got \(2, 3, 4\) and \(2, 3, 4, 4\)"):
        without_object(x, torch.zeros(2, 3, 4, dtype=torch.bool))
    with pytest.raises(DataError, match="image 1 has no background"):
        without_object(x, torch.stack([torch.zeros(4, 4), torch.ones(4, 4)]).bool())
    with pytest.raises(ConfigError, match='not "black"'):
        without_object(x, torch.zeros(2, 4, 4).bool(), fill="black")
    with pytest.raises(DataError, match="do not fit"):
        on_background(x, torch.zeros(2, 4, 4).bool(), x[:1])


def test_usable_needs_an_object_and_some_background():
    masks = torch.zeros(3, 10, 10, dtype=torch.bool)
    masks[1, 0, 0] = True
    masks[2].view(-1)[:96] = True
    assert usable(masks).tolist() == [False, True, False]
