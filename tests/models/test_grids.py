import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdlens.models.grids import Grid, covers, token_grids

sides = st.integers(8, 400)


@given(sides, sides, st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_a_map_made_by_strides_of_two_covers_its_image(height, width, stride):
    rows, columns = height, width
    while stride > 1:  # padded convolutions with stride 2
        rows, columns, stride = -(-rows // 2), -(-columns // 2), stride // 2
    assert covers((rows, columns), (height, width))


@given(sides, st.integers(1, 400), st.integers(1, 400))
def test_only_squares_cover_a_square(side, rows, columns):
    if rows != columns:
        assert not covers((rows, columns), (side, side))


@pytest.mark.parametrize(
    ("size", "image"),
    [
        ((56, 96), (224, 224)),  # rows and channels of a channels-last map
        ((80, 96), (224, 320)),
        ((320, 224), (224, 320)),
        ((7, 7), (224, 448)),
        ((14, 7), (224, 448)),
        ((225, 225), (224, 224)),
        ((0, 0), (224, 224)),
        ((50, 50), (224, 224)),  # tokens of a transformer
        ((197, 197), (224, 224)),
    ],
)
def test_what_covers_no_image(size, image):
    assert not covers(size, image)


@pytest.mark.parametrize("size", [(149, 149), (71, 71), (35, 35), (17, 17), (8, 8)])  # unpadded convolutions
def test_inception_maps_cover_their_image(size):
    assert covers(size, (299, 299))


@given(st.integers(2, 40), st.integers(2, 40), st.sampled_from([4, 7, 8, 14, 16, 32]), st.integers(0, 2))
def test_tokens_of_whole_patches_give_their_grid(rows, columns, patch, prefix):
    found = token_grids(rows * columns + prefix, (rows * patch, columns * patch))
    assert Grid(rows, columns, prefix) in found


@pytest.mark.parametrize(
    ("tokens", "image", "grid"),
    [
        (196, (224, 224), Grid(14, 14, 0)),
        (197, (224, 224), Grid(14, 14, 1)),
        (198, (224, 224), Grid(14, 14, 2)),  # distillation token
        (201, (224, 224), Grid(14, 14, 5)),  # four registers
        (50, (224, 224), Grid(7, 7, 1)),
        (65, (32, 32), Grid(8, 8, 1)),
        (261, (256, 256), Grid(16, 16, 5)),
        (14 * 20 + 1, (224, 320), Grid(14, 20, 1)),
        (82, (37, 37), Grid(9, 9, 1)),  # a rest of one pixel is cut off
    ],
)
def test_known_transformers(tokens, image, grid):
    assert token_grids(tokens, image) == [grid]


def test_a_known_number_of_extra_tokens_decides():
    assert token_grids(14 * 14 + 30, (224, 224)) == []
    assert token_grids(14 * 14 + 30, (224, 224), prefix=30) == [Grid(14, 14, 30)]


@pytest.mark.parametrize(("tokens", "image"), [(10, (224, 224)), (77, (224, 224)), (2, (32, 32)), (300, (224, 224))])
def test_what_is_no_grid(tokens, image):
    assert token_grids(tokens, image) == []
