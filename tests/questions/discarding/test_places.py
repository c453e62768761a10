"""Signs that know of places: exact where places are apart, and used where they are."""

import pytest
import torch
from torch import Tensor

from kdlens.questions.discarding.noise import Noise
from kdlens.questions.discarding.places import CLOSE, Places, close_places, placed_signs


def rows(count: int, *shape: int) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("shape", "first"), [((5, 4, 4), True), ((16, 5), False)])
def test_splitting_and_joining(shape: tuple[int, ...], first: bool) -> None:
    vectors, places = rows(3, 80), Places(shape, first)
    parts = places.split(vectors)
    assert parts.shape == (3, 16, 5)
    torch.testing.assert_close(places.join(parts), vectors)
    moved = vectors.view(3, *shape)
    torch.testing.assert_close(parts[1, 7], moved[1, :, 1, 3] if first else moved[1, 7])


@pytest.mark.parametrize("count", [5, 12, 16])
def test_units_of_a_place_are_orthogonal_over_the_probes(count: int) -> None:
    places = Places((16, 5), first=False)
    parts = places.split(placed_signs(places, rows(8, 80), count, Noise(0, 0)))
    for place in range(16):
        torch.testing.assert_close(parts[:, place].T @ parts[:, place], count * torch.eye(5), atol=1e-4, rtol=0)
    across = parts[:, 3].T @ parts[:, 4]
    assert across.abs().max() > 1  # places have their own columns and signs


def test_too_few_probes_serve_the_main_directions() -> None:
    """Four of ten units of every place hold all that moves: probes that suffice for four are exact for it."""
    mixing = torch.linalg.qr(rows(10, 10)).Q[:4]
    moved = rows(8, 20, 4) @ mixing
    places = Places((20, 10), first=False)
    parts = places.split(placed_signs(places, moved.flatten(1), 4, Noise(0, 0)))
    along = parts @ mixing.T
    for place in range(20):
        torch.testing.assert_close(along[:, place].T @ along[:, place], 4 * torch.eye(4), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("count", "width"), [(6, 10), (10, 6)])
def test_squares_average_to_the_energy_of_any_map(count: int, width: int) -> None:
    places, matrix = Places((12, width), first=False), rows(12 * width, 3)
    moved = rows(8, 12 * width)
    found = [
        (placed_signs(places, moved, count, Noise(seed, 0)) @ matrix).square().sum(1).mean() for seed in range(400)
    ]
    energy, values = matrix.square().sum(), torch.stack(found)
    assert (values.mean() - energy).abs() < 4 * values.std() / 20


class TestClosePlaces:
    def test_tokens(self) -> None:
        moved = (rows(16, 30, 2) @ rows(2, 6)).flatten(1)
        assert close_places(moved, moved, (30, 6), 8) == Places((30, 6), first=False)

    def test_channels_first(self) -> None:
        moved = (rows(16, 25, 2) @ rows(2, 6)).transpose(1, 2).flatten(1)
        assert close_places(moved, moved, (6, 5, 5), 8) == Places((6, 5, 5), first=True)

    def test_not_where_all_moves_together(self) -> None:
        moved = rows(16, 3) @ rows(3, 180)
        assert close_places(moved, moved, (30, 6), 0) is None

    def test_not_where_directions_would_span_it(self) -> None:
        moved = (rows(16, 30, 2) @ rows(2, 6)).flatten(1)
        assert close_places(moved, moved, (30, 6), 60) is None

    def test_not_where_nothing_moves_or_nothing_is_known_of_places(self) -> None:
        assert close_places(torch.zeros(16, 180), torch.zeros(8, 180), (30, 6), 8) is None
        assert close_places(rows(16, 180), rows(8, 180), (180,), 8) is None
        assert close_places(rows(2, 180), rows(2, 180), (12, 15), 1) is None  # 30 samples of 12 or 24 of 15 units
        assert 0 < CLOSE < 1


def test_signs_are_fair() -> None:
    signs = Noise(0, 0).signs("signs", (101, 77))
    assert signs.shape == (101, 77)
    assert signs.dtype == torch.int8
    assert set(signs.unique().tolist()) == {-1, 1}
    assert signs.double().mean().abs() < 4 / (101 * 77) ** 0.5
    assert (signs.double().mean(0).abs() < 5 / 101**0.5).all()


def test_orders_are_permutations() -> None:
    orders = Noise(0, 0).orders("columns", 9, 12)
    assert (orders.sort(1).values == torch.arange(12)).all()
    assert len(orders.unique(dim=0)) == 9
