"""Distance statistics: published numbers to ten digits, the dcor package, closed forms, invariants, gradients."""

import dcor
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kdlens.errors import StatisticsError
from kdlens.stats.distance import (
    distance_correlation,
    partial_distance_correlation,
    project_out,
    semipartial_distance_correlation,
    u_center,
    u_centered_distances,
    u_product,
)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def upper(matrix):
    n = len(matrix)
    return matrix[tuple(torch.triu_indices(n, n, 1))]


FIRST = {
    "x": tensor([[0, 0], [1, 0], [0, 2], [3, 1], [2, 4]]),
    "y": tensor([1, 3, 2, 7, 5])[:, None],
    "z": tensor([0, 1, 4, 2, 8])[:, None],
}
THIRD = {
    "x": tensor([[0.1, 0.2], [0.4, -0.1], [0, 0.5], [1.9, 2.1], [2.3, 1.7], [1.6, 2.4]]),
    "y": tensor([[1, 0, 0]] * 3 + [[0, 0.6, 0.8]] * 3),
    "z": tensor([[0.3, 0], [1.1, 0.4], [-0.2, 0.9], [0.8, 1.6], [2, 0.5], [1.2, 1.9]]),
}
U_FIRST = {
    "x": "-1.0127787918 -0.2232891857 0.4402790759 0.7957889016 0.3591694700 -0.1395399286 0.7931492504 0.5761593602 "
    "-0.7120396444 -0.8768985075",
    "y": "-0.3333333333 -1.6666666667 1.0000000000 1.0000000000 -0.3333333333 0.3333333333 0.3333333333 1.0000000000 "
    "1.0000000000 -2.3333333333",
    "z": "-1.6666666667 1.0000000000 -0.3333333333 1.0000000000 1.0000000000 -0.3333333333 1.0000000000 0.3333333333 "
    "-2.3333333333 0.3333333333",
}
U_THIRD = {
    "x": "-1.3461955383 -1.3044928933 0.9579311800 0.8343957781 0.8583614735 -1.0284259099 0.8745705998 0.6601253469 "
    "0.8399255015 0.8455526260 0.7868381832 0.7005279940 -1.2802993725 -1.3977550333 -1.0010599357",
    "z": "-0.3144251544 -0.5959204754 0.3852758879 0.0079324799 0.5171372620 0.1527588200 0.3313055960 -0.4731300391 "
    "0.3034907775 -0.1016016742 0.4407682805 0.1039950490 0.1670362786 -0.7820160884 -0.1426070000",
}
RESIDUAL_FIRST = (
    "-0.3715003495 -0.6080562511 0.5685347644 0.4110218362 -0.0255975954 -0.0112842401 0.4083821850 0.4479036717 "
    "0.1857501748 -1.0051541960"
)
RESIDUAL_THIRD = (
    "-0.8516406488 -0.3671779848 0.3519361713 0.8219188923 0.0449635699 -1.2686981028 0.3534647019 1.4043049105 "
    "0.3625691392 1.0053604659 0.0935599731 0.5369556487 -1.5430283786 -0.1677329605 -0.7767553973"
)


def numbers(text):
    return tensor([float(word) for word in text.split()])


@pytest.mark.parametrize(("data", "matrices"), [(FIRST, U_FIRST), (THIRD, U_THIRD)])
def test_u_centred_matrices_of_the_examples(data, matrices):
    for name, text in matrices.items():
        assert torch.allclose(upper(u_centered_distances(data[name])), numbers(text), rtol=0, atol=1e-9)


def test_two_classes_as_labels():
    matrix = u_centered_distances(THIRD["y"])
    same = torch.arange(6)[:, None] // 3 == torch.arange(6) // 3
    expected = torch.where(same, -0.8485281374, 0.5656854249).fill_diagonal_(0).double()
    assert torch.allclose(matrix, expected, atol=1e-7)


@pytest.mark.parametrize(
    ("data", "products"),
    [
        (
            FIRST,
            {"xx": 0.8576350943, "yy": 2.5333333333, "zz": 2.5333333333, "xy": 0.7908344803, "xz": 0.9747432323,
             "yz": -0.6666666667},
        ),
        (
            THIRD,
            {"xx": 1.6942411749, "yy": 0.8, "zz": 0.2437971887, "xy": 1.1562340887, "xz": 0.3834651586,
             "yz": 0.2380865647},
        ),
    ],
)  # fmt: skip
def test_products_of_the_examples(data, products):
    centred = {name: u_centered_distances(x) for name, x in data.items()}
    for (a, b), value in products.items():
        assert u_product(centred[a], centred[b]).item() == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("data", "residual", "norm"), [(FIRST, RESIDUAL_FIRST, 0.4825860013), (THIRD, RESIDUAL_THIRD, 1.0910942369)]
)
def test_residuals_of_the_examples(data, residual, norm):
    left = project_out(u_centered_distances(data["x"]), u_centered_distances(data["z"]))
    assert torch.allclose(upper(left), numbers(residual), rtol=0, atol=1e-9)
    assert u_product(left, left).item() == pytest.approx(norm, abs=1e-9)


@pytest.mark.parametrize(
    ("data", "xy", "xz", "yz", "partial", "semi", "mirror"),
    [
        (FIRST, 0.5365227667, 0.6612912675, -0.2631578947, 0.9818396191, 0.9472325000, -0.8237990090),
        (THIRD, 0.9931461418, 0.5966559112, 0.5391077170, 0.9934777497, 0.8367435457, -0.0666155602),
    ],
)
def test_correlations_of_the_examples(data, xy, xz, yz, partial, semi, mirror):
    x, y, z = data.values()
    found = {
        xy: distance_correlation(x, y),
        xz: distance_correlation(x, z),
        yz: distance_correlation(y, z),
        partial: partial_distance_correlation(x, y, z),
        semi: semipartial_distance_correlation(x, y, z),
        mirror: semipartial_distance_correlation(z, y, x),
    }
    for expected, value in found.items():
        assert value.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("data", "xy", "xz", "normalised"),
    [(FIRST, 0.7633579403, 0.8690457886, 0.4826485745), (THIRD, 0.9801240086, 0.7420929809, 0.4908140163)],
)
def test_plain_statistic_of_the_examples(data, xy, xz, normalised):
    x, y, z = data.values()
    assert distance_correlation(x, y, unbiased=False).item() == pytest.approx(xy, abs=1e-9)
    assert distance_correlation(x, z, unbiased=False).item() == pytest.approx(xz, abs=1e-9)
    unit = torch.nn.functional.normalize
    assert distance_correlation(unit(x), unit(z), unbiased=False).item() == pytest.approx(normalised, abs=1e-9)


@pytest.mark.parametrize("n", [4, 5, 17, 64, 256])
def test_equal_to_dcor(n):
    x, y, z = random(n, 7), random(n, 3, seed=1), random(n, 5, seed=2)
    y, z = y + x[:, :3], z + x[:, :5]
    a, b, c = (np.asarray(t) for t in (x, y, z))
    assert distance_correlation(x, y).item() == pytest.approx(dcor.u_distance_correlation_sqr(a, b), abs=1e-9)
    plain = dcor.distance_correlation_sqr(a, b)
    assert distance_correlation(x, y, unbiased=False).item() == pytest.approx(plain, abs=1e-9)
    expected = dcor.partial_distance_correlation(a, b, c)
    assert partial_distance_correlation(x, y, z).item() == pytest.approx(expected, abs=1e-9)


samples = st.tuples(st.integers(5, 14), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 999))


def draw(sample):
    n, d, e, f, seed = sample
    return random(n, d, seed=seed), random(n, e, seed=seed + 1), random(n, f, seed=seed + 2)


@given(samples)
@settings(max_examples=40, deadline=None)
def test_rows_and_columns_sum_to_zero(sample):
    matrix = u_centered_distances(draw(sample)[0])
    assert matrix.sum(0).abs().max() < 1e-12
    assert torch.equal(matrix.diagonal(), torch.zeros(len(matrix), dtype=torch.float64))
    assert torch.allclose(matrix, matrix.T)


@given(samples)
@settings(max_examples=40, deadline=None)
def test_closed_forms(sample):
    """With scalar correlations u: R* = (u_xy - u_xz u_yz) / root(1 - u_xz^2), and pdcor = R* / root(1 - u_yz^2)."""
    x, y, z = draw(sample)
    xy, xz, yz = (distance_correlation(a, b).item() for a, b in ((x, y), (x, z), (y, z)))
    assume(abs(xz) < 0.999 and abs(yz) < 0.999)
    semi = semipartial_distance_correlation(x, y, z).item()
    partial = partial_distance_correlation(x, y, z).item()
    assert semi == pytest.approx((xy - xz * yz) / (1 - xz**2) ** 0.5, abs=1e-8)
    assert partial == pytest.approx(semi / (1 - yz**2) ** 0.5, abs=1e-8)
    assert abs(semi) <= abs(partial) + 1e-12
    a, b = u_centered_distances(x), u_centered_distances(z)
    left = project_out(a, b)
    assert (u_product(left, left) / u_product(a, a)).item() == pytest.approx(1 - xz**2, abs=1e-9)
    assert u_product(left, b).item() == pytest.approx(0, abs=1e-12)


@given(samples, st.floats(0.01, 100), st.floats(-50, 50))
@settings(max_examples=40, deadline=None)
def test_invariance(sample, scale, shift):
    """Under a common order of the images, and rotation, translation and scale of either side."""
    x, y, z = draw(sample)
    rotation = torch.linalg.qr(random(x.shape[1], x.shape[1], seed=5)).Q
    moved = scale * x @ rotation + shift
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(sample[-1]))
    for statistic in (partial_distance_correlation, semipartial_distance_correlation):
        value = statistic(x, y, z).item()
        assert statistic(moved, y, z).item() == pytest.approx(value, abs=1e-8)
        assert statistic(x, y, scale * z + shift).item() == pytest.approx(value, abs=1e-8)
        assert statistic(x[order], y[order], z[order]).item() == pytest.approx(value, abs=1e-9)
    for unbiased in (True, False):
        value = distance_correlation(x, y, unbiased).item()
        assert distance_correlation(moved, y, unbiased).item() == pytest.approx(value, abs=1e-8)
        assert distance_correlation(y, x, unbiased).item() == pytest.approx(value, abs=1e-12)
        assert distance_correlation(x, x, unbiased).item() == pytest.approx(1, abs=1e-12)


def test_order_of_one_side_matters():
    x = random(20, 3)
    assert distance_correlation(x, x.flip(0)).item() < 0.5


def test_bias_correction_is_worth_having():
    """Independent deep features of few images: the plain statistic says 1, the corrected one 0 on average."""
    x, y = random(60, 8, 500), random(60, 8, 500, seed=1)
    assert distance_correlation(x, y, unbiased=False).min() > 0.95
    corrected = distance_correlation(x, y)
    assert abs(corrected.mean().item()) < 0.08
    assert corrected.min() < 0


def test_two_classes_give_the_same_value_for_every_embedding():
    labels = torch.arange(12) % 2
    x = random(12, 4) + labels[:, None]
    one_hot = distance_correlation(x, torch.eye(2)[labels])
    assert torch.allclose(distance_correlation(x, random(2, 50, seed=3)[labels]), one_hot, atol=1e-12)
    labels = torch.arange(12) % 3
    assert not torch.allclose(
        distance_correlation(x, torch.eye(3)[labels]), distance_correlation(x, random(3, 5)[labels]), atol=1e-3
    )


def test_leading_dimensions():
    x, y, z = random(3, 2, 9, 4), random(3, 2, 9, 2, seed=1), random(3, 2, 9, 3, seed=2)
    together = semipartial_distance_correlation(x, y, z)
    assert together.shape == (3, 2)
    assert together[2, 1].item() == pytest.approx(
        semipartial_distance_correlation(x[2, 1], y[2, 1], z[2, 1]).item(), abs=1e-12
    )
    assert torch.allclose(distance_correlation(x, y[0, 0])[1, 1], distance_correlation(x[1, 1], y[0, 0]))


@pytest.mark.parametrize("n", [5, 8])
def test_gradients(n):
    x, y, z = (
        random(n, 3).requires_grad_(),
        random(n, 2, seed=1).requires_grad_(),
        random(n, 2, seed=2).requires_grad_(),
    )
    assert torch.autograd.gradcheck(u_centered_distances, x)
    assert torch.autograd.gradcheck(distance_correlation, (x, y))
    assert torch.autograd.gradcheck(lambda x, y: distance_correlation(x, y, unbiased=False), (x, y))
    assert torch.autograd.gradcheck(partial_distance_correlation, (x, y, z))
    assert torch.autograd.gradcheck(semipartial_distance_correlation, (x, y, z))


def test_gradient_with_duplicate_rows_is_finite():
    x = random(8, 3)
    x[3] = x[5]
    x.requires_grad_()
    value = semipartial_distance_correlation(x, torch.eye(2)[torch.arange(8) % 2], random(8, 2, seed=1))
    assert bool(torch.autograd.grad(value, x)[0].isfinite().all())


@pytest.mark.parametrize("features", [torch.full((7, 3), 0.1), 1e8 * torch.ones(7, 2), torch.eye(7) * 0.3])
def test_features_that_say_nothing_give_zero_and_then_nan(features):
    """Constant rows, and rows all at the same distance: the centred matrix is zero, not rounding noise."""
    assert torch.equal(u_centered_distances(features), torch.zeros(7, 7, dtype=torch.float64))
    other = random(7, 2)
    assert distance_correlation(features, other).isnan()
    assert semipartial_distance_correlation(other, features, random(7, 3, seed=1)).isnan()
    left = semipartial_distance_correlation(other, random(7, 3, seed=1), features)
    assert left.item() == pytest.approx(distance_correlation(other, random(7, 3, seed=1)).item(), abs=1e-12)


def test_nothing_left_after_projection():
    x, y = random(9, 4), random(9, 2, seed=1)
    assert semipartial_distance_correlation(x, y, x).isnan()
    assert partial_distance_correlation(x, y, 2.5 * x + 1).isnan()
    x.requires_grad_()
    gradient = torch.autograd.grad(semipartial_distance_correlation(x, y, x.detach()), x)[0]
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_images(n):
    x = random(n, 3)
    for call in (
        lambda: u_centered_distances(x),
        lambda: distance_correlation(x, x),
        lambda: distance_correlation(x, x, unbiased=False),
        lambda: u_product(random(n, n), random(n, n)),
    ):
        with pytest.raises(StatisticsError, match=f"at least 4 images, got {n}"):
            call()


def test_different_images():
    with pytest.raises(StatisticsError, match="same images, got 5 and 6 rows"):
        distance_correlation(random(5, 2), random(6, 2))
    with pytest.raises(StatisticsError, match="same images, got 5 and 6"):
        u_product(random(5, 5), random(6, 6))


def test_u_center_of_any_distance_matrix():
    d = tensor([[0, 1, 2, 4], [1, 0, 3, 1], [2, 3, 0, 2], [4, 1, 2, 0]])
    assert torch.allclose(u_center(d), torch.from_numpy(dcor.u_centered(d.numpy())), atol=1e-12)
    assert u_center(d).sum(0).abs().max() < 1e-12


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gpu_equals_cpu():
    x, y, z = random(16, 300).float(), random(16, 4, seed=1).float(), random(16, 30, seed=2).float()
    on_gpu = semipartial_distance_correlation(x.cuda(), y.cuda(), z.cuda())
    assert on_gpu.item() == pytest.approx(semipartial_distance_correlation(x, y, z).item(), abs=1e-10)
