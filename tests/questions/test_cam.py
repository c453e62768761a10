"""Scaling of maps as published, and the share of a map on the object."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import DataError, KdlensError
from kdlens.memory import in_portions, portion_size
from kdlens.models.device import device_of
from kdlens.questions.unicam.cam import common_scale, energy_share, min_max, published_scale, upsample


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_upsample_is_bilinear_without_aligned_corners():
    maps = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    expected = torch.tensor([[0, 0.25, 0.75, 1], [0.5, 0.75, 1.25, 1.5], [1.5, 1.75, 2.25, 2.5], [2, 2.25, 2.75, 3]])
    assert torch.allclose(upsample(maps, (4, 4))[0], expected)
    assert upsample(maps, (5, 9)).shape == (1, 5, 9)


@given(st.integers(0, 99), st.floats(0.01, 1000))
@settings(max_examples=25, deadline=None)
def test_published_scale_forgets_the_amplitude(seed, scale):
    raw = random(3, 4, 5, seed=seed)
    maps = published_scale(raw, (16, 20))
    assert 0 <= maps.min() <= maps.max() <= 1
    assert maps.amax((1, 2)).min() > 0.99
    assert torch.allclose(published_scale(scale * raw, (16, 20)), maps, atol=1e-3)


def test_published_scale_step_by_step():
    raw = random(2, 3, 3)
    for map_, small in zip(published_scale(raw, (6, 6)).numpy(), raw.numpy(), strict=True):
        kept = np.maximum(small, 0)
        kept = (kept - kept.min()) / (1e-7 + (kept - kept.min()).max())
        large = upsample(torch.from_numpy(kept)[None], (6, 6))[0].numpy()
        large = (large - large.min()) / (1e-7 + (large - large.min()).max())
        assert np.allclose(map_, large, atol=1e-6)


def test_nothing_positive_gives_nothing():
    assert published_scale(-random(1, 3, 3).abs(), (6, 6)).max() == 0
    assert min_max(torch.full((1, 3, 3), 7.0)).max() == 0


def test_energy_share():
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[:, :2] = True
    maps = torch.stack([torch.ones(4, 4), masks[1].float() - 1.0 * ~masks[1], -torch.ones(4, 4)])
    share = energy_share(maps, masks)
    assert share[:2].tolist() == [0.5, 1.0]
    assert share[2].isnan()
    with pytest.raises(DataError, match=r"maps \(3, 4, 4\) and masks \(3, 4\)"):
        energy_share(maps, masks[:, 0])


def test_a_map_that_knows_nothing_has_the_share_of_the_area():
    masks = random(1, 8, 8, seed=3).expand(4000, 8, 8) > 0.5
    share = energy_share(torch.rand(4000, 8, 8, generator=torch.Generator().manual_seed(0)), masks)
    assert share.mean().item() == pytest.approx(masks.float().mean().item(), abs=0.005)


def test_common_scale_is_a_quantile_of_the_positive_values():
    maps = [random(2, 30, 30), 3 * random(1, 30, 30, seed=1)]
    positive = torch.cat([m[m > 0] for m in maps])
    assert common_scale(maps) == pytest.approx(torch.quantile(positive, 0.995).item(), rel=0.02)
    assert common_scale([-maps[0].abs()]) == 1.0


def test_portions_are_halved_when_memory_runs_out():
    asked = []

    def hungry(part):
        asked.append(part)
        if part.stop - part.start > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(part.start, part.stop))

    assert [i for portion in in_portions(hungry, 10, size=8) for i in portion] == list(range(10))
    assert [part.stop - part.start for part in asked] == [8, 4, 2, 2, 2, 2, 2]
    with pytest.raises(KdlensError, match="out of memory with one image at a time"):
        in_portions(lambda part: (_ for _ in ()).throw(MemoryError()), 4)
    with pytest.raises(RuntimeError, match="shape"):
        in_portions(lambda part: (_ for _ in ()).throw(RuntimeError("shape")), 4)


def test_device_of_a_network_without_parameters():
    assert device_of(torch.nn.ReLU()) == torch.device("cpu")
    assert device_of(torch.nn.Linear(1, 1)) == torch.device("cpu")


def test_portions_are_estimated_where_images_are_many(monkeypatch):
    asked = []
    monkeypatch.setattr("kdlens.memory.estimate_batch_size", lambda model, x: asked.append(x.shape) or 6)
    net = torch.nn.Conv2d(3, 2, 3)
    assert portion_size(net, torch.zeros(8, 3, 224, 224)) == 32
    assert asked == []
    images = torch.zeros(1, 3, 300, 300).expand(20, 3, 300, 300)
    assert portion_size(net, images) == 6
    assert portion_size(net, images, gradients=True) == 3
    assert asked == [(1, 3, 300, 300)] * 2
