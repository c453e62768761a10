"""Maps from activations: the worked example to ten digits, and the published definition by plain autograd."""

import pytest
import torch
import torch.nn.functional as F

from kdlens.errors import ConfigError, LayerShapeError, StatisticsError
from kdlens.questions.unicam.cam import published_scale
from kdlens.questions.unicam.maps import Scene, Sight, unicam_from_activations, vectors
from kdlens.stats.distance import distance_correlation, semipartial_distance_correlation


def numbers(text, *shape):
    return torch.tensor([float(word) for word in text.replace(",", " ").split()], dtype=torch.float64).reshape(shape)


A = (2 * torch.sin(1 + 0.7 * torch.arange(40, dtype=torch.float64)).abs()).round(decimals=3).reshape(5, 2, 2, 2)
GIVEN = numbers(".878,-.227,-.999 -.307,.835,.754 -.431,-.985,-.095 .934,.595,-.615 -.924,.121,.989", 5, 3)
LABELS = torch.tensor([0, 1, 0, 1, 0])
RELEVANCE = {"flat": -0.6087778929, "pooled": -0.5346856167}
MAPS = {
    "flat": numbers(
        """-0.0454934963,-0.0607500341 -0.0474521342,-0.0118272214 -0.0030398572,-0.0438773155
        -0.0672703849,-0.0590168811 0.0064698740,0.0024549223 0.0100793889,0.0130618069 0.0161427853,0.0054992073
        0.0077395525,0.0173291191 0.0866543905,0.0949568592 0.0585911174,0.0053114885""",
        5, 2, 2,
    ),
    "pooled": numbers(
        """-0.1751180782,-0.2318827711 -0.1796557665,-0.0428952908 -0.0749593702,-0.4288263363
        -0.6011206613,-0.4906245219 -0.4340119688,-0.5125168470 -1.2229114590,-1.3557790081 -0.1231120726,-0.3592415707
        0.4267287148,0.2932828338 1.9917759501,2.0728834161 1.1790642235,0.2689205841""",
        5, 2, 2,
    ),
}  # fmt: skip


def test_activations_of_the_example():
    assert A[0, 0].tolist() == [[1.683, 1.983], [1.351, 0.083]]
    assert A[4, 1].tolist() == [[1.752, 1.962], [1.249, 0.051]]


@pytest.mark.parametrize("features", ["flat", "pooled"])
def test_worked_example(features):
    result = unicam_from_activations(Scene(Sight(A, features), Sight(GIVEN), LABELS), size=(2, 2))
    assert result.relevance == pytest.approx(RELEVANCE[features], abs=1e-9)
    assert torch.allclose(result.raw, MAPS[features], rtol=0, atol=1e-9)
    assert result.degenerate.tolist() == (MAPS[features].amax((1, 2)) <= 0).tolist()
    assert torch.allclose(result.maps, published_scale(MAPS[features], (2, 2)), atol=1e-9)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scene(n, seed=0, features="pooled"):
    labels = torch.arange(n) % 3
    signal = F.one_hot(labels).double() @ random(3, 5, seed=70)
    model = (random(n, 5, 4, 4, seed=seed) + signal[:, :, None, None]).relu()
    given = (random(n, 7, 2, 2, seed=seed + 1) + model[:, :1, :2, :2]).relu()
    return Scene(Sight(model, features, "layer4"), Sight(given, features, "stage4"), labels)


def pick(images, index, other=None):
    """Some of the images, after those of the other scene."""

    def of(part, before):
        return part[index] if before is None else torch.cat([before, part[index]])

    sights = [
        Sight(of(one.activation, two and two.activation), one.features, one.layer)
        for one, two in zip(images[:2], other[:2] if other else (None, None), strict=True)
    ]
    return Scene(*sights, of(images.labels, other and other.labels))


def with_model(images, activation):
    return images._replace(model=Sight(activation, images.model.features, images.model.layer))


def by_autograd(images):
    """The published definition, written as it reads."""
    features = images.model.features
    model = images.model.activation.clone().requires_grad_()
    labels = F.one_hot(images.labels).double()
    given = vectors(images.given.activation, features)
    value = semipartial_distance_correlation(vectors(model, features), labels, given)
    beta = torch.autograd.grad(value, model)[0].mean((2, 3))
    return value.item(), (beta[:, :, None, None] * images.model.activation).sum(1)


@pytest.mark.parametrize("features", ["flat", "pooled"])
@pytest.mark.parametrize("n", [4, 12])
def test_published_definition(n, features):
    images = scene(n, features=features)
    value, raw = by_autograd(images)
    result = unicam_from_activations(images, size=(4, 4))
    assert (result.layer, result.given_layer) == ("layer4", "stage4")
    assert result.relevance == pytest.approx(value, abs=1e-12)
    assert torch.allclose(result.raw, raw, atol=1e-12)
    assert result.depends_on_batch


@pytest.mark.parametrize("features", ["flat", "pooled"])
def test_against_a_reference(features):
    """Each image's map is that of the batch made of the reference and the image."""
    images, reference = scene(5, seed=3, features=features), scene(20, seed=8, features=features)
    result = unicam_from_activations(images, size=(4, 4), reference=reference)
    assert not result.depends_on_batch
    for i in range(5):
        batch = pick(images, slice(i, i + 1), reference)
        assert torch.allclose(result.raw[i], by_autograd(batch)[1][-1], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("features", ["flat", "pooled"])
def test_alone_or_among_64_others(features):
    images, reference = scene(65, seed=3, features=features), scene(40, seed=8, features=features)
    together = unicam_from_activations(images, size=(9, 9), reference=reference)
    alone = unicam_from_activations(pick(images, slice(10, 11)), size=(9, 9), reference=reference)
    assert (together.maps[10] - alone.maps[0]).abs().max() < 1e-9
    assert together.maps[10].max() > 0.9


def test_without_a_given_network_the_map_is_that_of_the_labels():
    images = scene(12)
    model = images.model.activation.clone().requires_grad_()
    value = distance_correlation(model.mean((2, 3)), F.one_hot(images.labels).double())
    expected = (torch.autograd.grad(value, model)[0].mean((2, 3))[:, :, None, None] * images.model.activation).sum(1)
    result = unicam_from_activations(images._replace(given=None), size=(4, 4))
    assert torch.allclose(result.raw, expected, atol=1e-12)
    assert result.unique_fraction == 1


def test_companions_matter_without_a_reference_and_not_with_one():
    first, second, reference = scene(12), scene(12, seed=4), scene(30, seed=8)
    mixed = pick(second, slice(1, None), pick(first, slice(1)))
    batch = [unicam_from_activations(x, size=(4, 4)).raw[0] for x in (first, mixed)]
    assert not torch.allclose(*batch, rtol=0.1)
    alone = [unicam_from_activations(x, size=(4, 4), reference=reference).raw[0] for x in (first, mixed)]
    assert torch.allclose(*alone, rtol=1e-9)


def test_order_of_the_batch_does_not_matter():
    images = scene(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    shuffled = pick(images, order)
    assert torch.allclose(
        unicam_from_activations(shuffled, size=(4, 4)).raw, unicam_from_activations(images, size=(4, 4)).raw[order]
    )


def test_directions_differ():
    images = scene(12)
    raw = [unicam_from_activations(x, size=(8, 8)).raw for x in (images, images.swapped())]
    assert not torch.allclose(*raw, atol=1e-3 * raw[0].abs().max().item())
    with pytest.raises(ValueError, match="no other direction"):
        images._replace(given=None).swapped()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a._replace(given=Sight(a.model.activation)), "nothing is unique"),
        (lambda a: a._replace(labels=torch.zeros_like(a.labels)), "all images have the same label"),
        (lambda a: with_model(a, torch.ones_like(a.model.activation)), "the same for every image"),
    ],
)
@pytest.mark.parametrize("reference", [False, True])
def test_noise_never_becomes_a_full_strength_map(change, reason, reference):
    images = change(scene(12))
    result = unicam_from_activations(images, size=(8, 8), reference=images if reference else None)
    assert reason in result.reason
    assert bool(result.degenerate.all())
    assert result.maps.max() == 0
    assert result.raw.abs().max() == 0
    assert "degenerate=12 of 12" in repr(result)


def test_bad_input():
    images = scene(12)
    with pytest.raises(LayerShapeError, match=r'layer "layer4" gives \(12, 7\); a heat map needs \(n, C, h, w\)'):
        unicam_from_activations(with_model(images, random(12, 7)), size=(4, 4))
    with pytest.raises(ConfigError, match='must be "pooled" or "flat", got "mean"'):
        Sight(A, "mean")
    bad = images.model.activation.clone()
    bad[3, 1, 0, 0] = torch.nan
    with pytest.raises(StatisticsError, match="NaN or infinite values in 1 of 12 rows"):
        unicam_from_activations(with_model(images, bad), size=(4, 4))
    with pytest.raises(StatisticsError, match="at least 4 images, got 2"):
        unicam_from_activations(pick(images, slice(2)), size=(4, 4))
