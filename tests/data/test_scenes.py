import subprocess
import sys
import textwrap

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kdlens.data.fashion import FASHION_CLASSES
from kdlens.data.images import Images
from kdlens.data.render import COLOURS, HUES, NEUTRALS
from kdlens.data.scenes import FashionScenes
from kdlens.data.textures import TEXTURES
from kdlens.errors import DataError

EVERY = torch.arange(400)


def scenes(**options):
    return FashionScenes("test", count=400, **options)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 399), st.sampled_from([20, 32, 47]), st.floats(0, 1), st.integers(0, 10**6), st.booleans())
def test_everything_about_every_pixel_is_known_exactly(index, size, bias, seed, tint):
    data = scenes(size=size, bias=bias, seed=seed, tint=tint)
    scene = data.scene(index)
    assert scene.image.shape == scene.background.shape == (3, size, size)
    assert torch.equal(scene.image[:, ~scene.mask], scene.background[:, ~scene.mask])
    assert (scene.textures == data.texture_names.index("fabric")).equal(scene.mask)
    assert scene.textures[~scene.mask].unique().tolist() == [data.background_textures[index].item()]
    worn = [data.colour_names[c] for c in scene.colours[scene.mask].unique()]
    around = {data.colour_names[c] for c in scene.colours[~scene.mask].unique()}
    assert len(worn) == 1
    assert worn[0] in (HUES if tint else ["white"])
    assert worn[0] not in around
    assert len(around & set(HUES)) <= 1
    assert around <= set(HUES) | set(NEUTRALS)
    assert 0.01 < scene.mask.float().mean() < 0.75


def test_colours_are_what_they_are_called():
    data, palette = scenes(size=48), torch.tensor([list(rgb) for rgb in COLOURS.values()]) / 255
    right, total = 0, 0
    for i in range(60):
        scene = data.scene(i)
        hue = scene.colours[scene.mask][0]
        if data.colour_names[hue] in ("red", "green", "blue"):
            channel = ("red", "green", "blue").index(data.colour_names[hue])
            right += int(scene.image[:, scene.mask].mean(1).argmax() == channel)
            total += 1
        for c in scene.colours[~scene.mask].unique():
            seen = scene.image[:, ~scene.mask & (scene.colours == c)].median(1).values
            others = [k for k, name in enumerate(COLOURS) if k != c and name in NEUTRALS]
            assert all((seen - palette[c]).norm() < (seen - palette[k]).norm() for k in others)
    assert right == total > 10


def test_items_batches_and_scenes_agree_in_any_order():
    together = scenes().gather(EVERY)
    alone = scenes()
    for i in (399, 0, 7, 130, 64):
        scene = alone.scene(i)
        assert torch.equal(scene.image, together[0][i])
        assert torch.equal(alone[i].image, together[0][i])
        assert torch.equal(alone[i].mask, together[2][i])
        assert alone[i].label == together[1][i] == scene.label
    shuffled = scenes().gather(EVERY.flip(0))
    assert torch.equal(shuffled[0].flip(0), together[0])


def test_large_scenes_are_not_kept_and_come_out_the_same(monkeypatch):
    kept = scenes(size=40).gather(torch.tensor([3, 200]))
    monkeypatch.setattr("kdlens.data.scenes._CACHE_BYTES", 0)
    data = scenes(size=40)
    assert torch.equal(data.gather(torch.tensor([3, 200]))[0], kept[0])
    assert torch.equal(data[200].image, kept[0][1])
    assert data._images is None


def test_another_process_renders_the_same_bytes():
    code = """
        from kdlens.data.images import Images
        from kdlens.data.scenes import FashionScenes
        print(Images(FashionScenes("test", count=50, bias=0.5)).fingerprint())
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == Images(FashionScenes("test", count=50, bias=0.5)).fingerprint()


def test_a_scene_depends_on_seed_split_and_index_only():
    few, many = FashionScenes("train", count=20), FashionScenes("train", count=7000)
    assert torch.equal(few.gather(torch.arange(20))[0], many.gather(torch.arange(20))[0])
    assert not torch.equal(few[3].image, FashionScenes("train", count=20, seed=1)[3].image)
    assert not torch.equal(few[3].image, FashionScenes("train", count=20, seed=-1)[3].image)
    assert not torch.equal(few[3].image, FashionScenes("test", count=20)[3].image)
    assert torch.equal(many.labels[6000:6010], torch.arange(10))  # garments come round again
    assert not torch.equal(many[6003].image, many[3].image)


def test_bias_changes_the_texture_and_nothing_else():
    free, tied = scenes(bias=0.0), scenes(bias=1.0)
    for i in range(20):
        a, b = free.scene(i), tied.scene(i)
        assert torch.equal(a.mask, b.mask)
        assert torch.equal(a.image[:, a.mask], b.image[:, b.mask])


@pytest.mark.parametrize("bias", [0.0, 0.3, 0.9, 1.0])
def test_the_texture_follows_the_class_as_often_as_bias_says(bias):
    data = FashionScenes("train", bias=bias)
    follows = (data.background_textures == data.labels).float()
    expected = bias + (1 - bias) / len(TEXTURES)
    assert abs(follows.mean() - expected) < 4 * (expected * (1 - expected) / 6000) ** 0.5 + 1e-9


def test_without_bias_the_background_says_nothing_about_the_class():
    data = FashionScenes("train", bias=0.0)
    table = torch.zeros(10, 10).index_put_((data.labels, data.background_textures), torch.ones(6000), accumulate=True)
    chi2 = ((table - 60) ** 2 / 60).sum()
    assert chi2 < 81 + 4 * (2 * 81) ** 0.5  # mean and spread of chi-square with 81 degrees of freedom


def test_tint_size_and_place_say_nothing_about_the_class():
    data = FashionScenes("train")
    plan = data._plan(torch.arange(6000))
    table = torch.zeros(10, 8).index_put_((data.labels, torch.from_numpy(plan.hues)), torch.ones(6000), accumulate=True)
    assert ((table - 75) ** 2 / 75).sum() < 63 + 4 * (2 * 63) ** 0.5


def test_classes_can_be_chosen_and_keep_their_texture_and_order():
    data = FashionScenes("test", classes=["Sneaker", "Dress"], bias=1.0)
    assert len(data) == 400
    assert data.classes == ["Sneaker", "Dress"]
    assert data.labels.bincount().tolist() == [200, 200]
    assert {FASHION_CLASSES[t] for t in data.background_textures[data.labels == 0].tolist()} == {"Sneaker"}
    whole = FashionScenes("test", bias=1.0)
    assert torch.equal(data[0].image, whole[3].image)  # the first dress


def test_counts_are_balanced():
    assert FashionScenes("test", count=25).labels.bincount().tolist() == [3] * 5 + [2] * 5
    assert len(FashionScenes("train")) == 6000
    assert len(FashionScenes("test")) == 2000


def test_the_recommended_normalisation_fits():
    x = FashionScenes("train", count=2000).gather(torch.arange(2000))[0]
    assert (x.mean((0, 2, 3)) - torch.tensor(FashionScenes.mean)).abs().max() < 0.02
    assert (x.std((0, 2, 3)) - torch.tensor(FashionScenes.std)).abs().max() < 0.02


def test_textures_differ():
    """A linear reader of local patch statistics tells all ten apart."""
    data = FashionScenes("train", count=1500, bias=0.0)
    backgrounds = torch.stack([data.scene(i).background for i in range(600)])
    edges = F.unfold(backgrounds.mean(1, keepdim=True), 5)  # (n, 25, positions)
    edges = (edges - edges.mean(1, keepdim=True)) / (edges.std(1, keepdim=True) + 0.05)
    patterns = torch.randn(64, 25, generator=torch.Generator().manual_seed(0))
    features = torch.relu(patterns @ edges).pow(2).mean(2).log1p()
    features = (features - features.mean(0)) / features.std(0)
    features = torch.cat([features, torch.ones(600, 1)], 1).double()
    target = F.one_hot(data.background_textures[:600], 10).double()
    weights = torch.linalg.solve(
        features[:450].T @ features[:450] + torch.eye(65).double(), features[:450].T @ target[:450]
    )
    right = (features[450:] @ weights).argmax(1) == data.background_textures[450:600]
    assert right.float().mean() > 0.6  # chance is 0.1


@pytest.mark.slow
def test_the_shortcut_works_where_there_is_one_and_only_there():
    def accuracy(network, data):
        x, y, _ = data.gather(torch.arange(len(data)))
        with torch.no_grad():
            return (network(x - 0.5).argmax(1) == y).float().mean().item()

    def block(inputs, outputs):
        return nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)

    torch.manual_seed(0)
    layers = (*block(3, 8), *block(8, 16), *block(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    network = nn.Sequential(*layers)
    x, y, _ = FashionScenes("train", bias=1.0).gather(torch.arange(6000))
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(3):
        for part in torch.randperm(6000).split(64):
            loss = F.cross_entropy(network(x[part] - 0.5), y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()
    tied, free = accuracy(network, FashionScenes("test", bias=1.0)), accuracy(network, FashionScenes("test", bias=0.0))
    assert tied > 0.8
    assert free < 0.25


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"split": "val"}, 'no split "val"; choose from train, test'),
        ({"size": 4}, "size 4 is too small"),
        ({"bias": 1.2}, r"bias 1.2 is a chance; it must lie in \[0, 1\]"),
        ({"bias": float("nan")}, "bias nan"),
        ({"count": 0}, "cannot make 0 scenes"),
        ({"classes": ["Dres"]}, 'no class "Dres"; did you mean "Dress"'),
        ({"classes": []}, "name at least one class, and each once"),
        ({"classes": ["Bag", "Bag"]}, "each once"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(DataError, match=text):
        FashionScenes(**options)


def test_there_is_no_scene_beyond_the_last():
    with pytest.raises(IndexError, match="400 scenes; there is no scene 400"):
        scenes()[400]
    assert len(list(FashionScenes("test", count=5))) == 5
