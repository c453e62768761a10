"""dissect from end to end: planted units are found, chance is chance, and nothing but the images matters."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import kdlens
from kdlens.data.concepts.annotated import Annotation
from kdlens.data.concepts.scenes import SceneConcepts
from kdlens.data.concepts.vocabulary import Vocabulary
from kdlens.errors import ConfigError, DataError, LayerNotFoundError, LayerShapeError, ModelError
from kdlens.questions.dissection.dissect import dissect_readers
from kdlens.questions.dissection.plan import Plan

TEXTURES = ("banded", "lined", "diagonal", "chequered", "zigzag")
"""Textures that linear filters can tell; a unit that cannot tell its texture is no planted one."""
TINTS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")


class Planted(nn.Module):
    """Units that answer to one colour or one texture wherever it is, among units that answer to nothing.

    A hair of noise decides which of a concept's pixels answer most: otherwise a few scenes would take the small share
    of places that lies above a threshold, and what else these scenes show would be found instead.
    """

    def __init__(self, scenes, *, filters=160):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.filters = torch.randn(filters, 3, 5, 5, generator=draw)
        self.filters -= self.filters.mean((2, 3), keepdim=True)
        images = torch.stack([scenes.image(i) for i in range(len(scenes))])
        masks = torch.stack([scenes.annotation(i).pixels for i in range(len(scenes))])
        words = scenes.vocabulary
        self.known = [words.names[label] for label in words.labels("texture").tolist()]
        self.colours = [name for name in TINTS for _ in range(4)]
        self.by_colour = self._fit(self._colours(images), masks[:, 1], words.labels("color"))
        self.by_texture = self._fit(self._bank(images), masks[:, 2], words.labels("texture"))
        self.units = nn.Identity()

    @property
    def labels(self):
        return [*self.colours, *TEXTURES, *[""] * 20]

    def forward(self, images):
        jitter = torch.rand(
            len(images), len(self.labels), *images.shape[2:], generator=torch.Generator().manual_seed(1)
        )
        colour = self._answers(self._colours(images), self.by_colour)[:, : len(TINTS)].repeat_interleave(4, 1)
        texture = self._answers(self._bank(images), self.by_texture)[:, [self.known.index(name) for name in TEXTURES]]
        nothing = torch.zeros(len(images), 20, *images.shape[2:])
        return self.units(torch.cat([colour, texture, nothing], 1) + 0.1 * jitter)

    def _colours(self, images):
        x = images
        return torch.cat([x, x * x, x * x.roll(1, 1), x**3, x * x * x.roll(1, 1), x * x * x.roll(2, 1)], 1)

    def _bank(self, images):
        found = functional.avg_pool2d(functional.conv2d(images, self.filters, padding=2).abs(), 9, 1, padding=4)
        return found / found.mean(1, keepdim=True).clamp_min(1e-6)

    def _fit(self, seen, masks, labels):
        flat = functional.pad(seen.permute(0, 2, 3, 1).flatten(0, 2), (0, 1), value=1.0).double()
        wanted = (masks.flatten()[:, None] == labels).double()
        return torch.linalg.solve(flat.T @ flat + 1e-3 * torch.eye(flat.shape[1]).double(), flat.T @ wanted).float()

    def _answers(self, seen, head):
        scores = torch.einsum("nfhw,fl->nlhw", seen, head[:-1]) + head[-1][:, None, None]
        return (scores == scores.amax(1, keepdim=True)).float()


@pytest.fixture(scope="module")
def scenes():
    return SceneConcepts("test", count=300)


@pytest.fixture(scope="module")
def planted():
    return Planted(SceneConcepts("train", count=120))


def test_planted_units_are_found_with_their_labels(planted, scenes):
    found = kdlens.dissect(planted, scenes, layers=["units"], preset="none", shuffles=10)["units"]
    names = [found.vocabulary.names[label] for label in found.best.label.tolist()]
    detects = (found.best.iou >= 0.04).tolist()
    meant = [label for label in planted.labels if label]
    hits = sum(name == label for name, label, yes in zip(names, planted.labels, detects, strict=True) if yes and label)
    assert len(meant) == 37
    assert hits / len(meant) >= 0.95  # recall
    assert hits / sum(detects) >= 0.95  # precision
    counts = found.counts()
    assert counts.p == pytest.approx(1 / 11)  # more than under any of ten deals
    assert counts.held_out >= 0.95 * len(meant)
    assert found.concepts().keys() == {*TINTS, *TEXTURES}
    assert (found.p[: len(meant)] < 0.05).all()
    assert found.p[len(meant) :].min() > 0.05


def test_a_random_network_counts_no_more_than_chance(scenes):
    """Turned at random, a random layer is a random layer: the count must lie among those of its rotations."""
    torch.manual_seed(0)
    random = nn.Sequential(nn.Conv2d(3, 24, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(24, 48, 3, padding=1))
    counts = kdlens.dissect(random, scenes, layers=["2"], rotations=9, shuffles=0)["2"].counts(0.02)
    assert counts.total > 0
    assert counts.chance_rotated.low <= counts.total <= counts.chance_rotated.high
    assert counts.p_rotated > 0.1


def test_units_that_see_nothing_lie_in_the_band_of_dealt_masks(held, anything):
    data = anything(n=120, units=60, large=(16, 16))
    found = dissect_readers({"net": lambda x: {"layer": x}}, data, Plan(shuffles=19), str)["net", "layer"]
    threshold = float(found.best.iou.median())  # a threshold that half of the units reach, so that there is a count
    counts = found.counts(threshold)
    assert counts.chance.low <= counts.total <= counts.chance.high
    assert counts.p > 0.05


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return {name: nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4)) for name in ("one", "other")}


def test_several_networks_in_the_same_passes_are_each_alone(networks, scenes):
    together = kdlens.dissect(networks, scenes, layers=["0", "2"], shuffles=3, rotations=2)
    assert list(together) == ["one", "other"]
    for name, network in networks.items():
        alone = kdlens.dissect(network, scenes, layers=["0", "2"], shuffles=3, rotations=2)
        for layer, found in alone.items():
            same = together[name][layer]
            assert torch.equal(found.tally.both, same.tally.both)
            assert torch.equal(found.dealt.both, same.dealt.both)
            assert found.counts() == same.counts()
            assert torch.equal(found.examples, same.examples)


def test_neither_batches_nor_a_second_run_change_anything(networks, scenes):
    first = kdlens.dissect(networks["one"], scenes, layers=["2"], shuffles=3, batch_size=1)["2"]
    again = kdlens.dissect(networks["one"], scenes, layers=["2"], shuffles=3, batch_size=64)["2"]
    torch.testing.assert_close(first.thresholds, again.thresholds, rtol=1e-5, atol=1e-6)  # convolutions round
    torch.testing.assert_close(first.iou, again.iou, rtol=0, atol=1e-4)
    assert torch.equal(first.examples, again.examples)


def test_the_network_comes_back_as_it_was(networks, scenes):
    network = networks["one"].train()
    before = copy.deepcopy(network.state_dict())
    kdlens.dissect(network, scenes, layers=["2"], shuffles=0)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_tokens_are_laid_out(scenes):
    vit = kdlens.load_model("zoo:vit_tiny_cifar", classes=10)
    layer = kdlens.auto_layers(vit, scenes.image(0)[None])[-1]
    assert kdlens.dissect(vit, scenes, layers=[layer], shuffles=0)[layer].images == 300


def test_a_broken_annotation_is_told_and_the_others_count(held, anything):
    data = anything(n=40)
    broken = held(data.images, data.annotations, data.vocabulary, broken={7})
    found = dissect_readers({"net": lambda x: {"layer": x}}, broken, Plan(shuffles=2), str)["net", "layer"]
    assert found.images == 39
    assert found.problems == ("mask 7.png, row 9 of index.csv, is missing",)


def test_nothing_to_count(held, anything):
    data = anything(n=3)
    broken = held(data.images, data.annotations, data.vocabulary, broken={0, 1, 2})
    with pytest.raises(DataError, match=r"no image of held could be used: mask \d"):
        dissect_readers({"net": lambda x: {"layer": x}}, broken, Plan(), str)


def test_units_that_are_constant_or_nan_detect_nothing_and_the_others_do(anything):
    data = anything(n=40, units=6)
    clean = dissect_readers({"net": lambda x: {"layer": x}}, data, Plan(shuffles=2), str)["net", "layer"]
    data.images[5][1, 0, 0] = torch.nan
    for image in data.images:
        image[2] = 3.5
    found = dissect_readers({"net": lambda x: {"layer": x}}, data, Plan(shuffles=2), str)["net", "layer"]
    assert found.thresholds[1].isnan()
    assert found.best.label[[1, 2]].tolist() == [0, 0]
    assert torch.equal(found.iou[[0, 3, 4, 5]], clean.iou[[0, 3, 4, 5]])
    frame = found.to_frame()
    assert frame.loc[frame["unit"] == 1, "label"].item() == ""


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"threshold_rule": "median"}, ConfigError, '"median"'),
        ({"category_rule": "lite"}, ConfigError, '"lite"'),
        ({"level": 0}, ConfigError, "between 0 and 1"),
        ({"shuffles": -1}, ConfigError, "shuffles must be 0 or more"),
        ({"groups": 1}, ConfigError, "groups must be 2 or more"),
        ({"preset": "imagenet"}, ConfigError, '"torchvision"'),
        ({"layers": ["5"]}, LayerNotFoundError, "5"),
    ],
)
def test_options_out_of_range(networks, scenes, options, error, told):
    with pytest.raises(error, match=told):
        kdlens.dissect(networks["one"], scenes, **options)


def test_what_is_no_network_or_has_no_places(scenes):
    with pytest.raises(ModelError, match="a network"):
        kdlens.dissect("model.pt", scenes)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8))
    with pytest.raises(LayerShapeError, match="rows and columns"):
        kdlens.dissect(flat, scenes, layers=["1"])


class Scribbling(nn.Module):
    """Writes to the images it is given."""

    def __init__(self):
        super().__init__()
        self.units = nn.Identity()

    def forward(self, images):
        return self.units(images.mul_(2))


def test_networks_do_not_see_what_others_write_to_the_images():
    scenes = kdlens.load_concepts("fashion-scenes", count=20)
    networks = {"first": Scribbling(), "second": Scribbling()}
    both = kdlens.dissect(networks, scenes, layers=["units"], preset=((0.5,) * 3, (0.2,) * 3))
    first, second = both["first"]["units"], both["second"]["units"]
    assert torch.equal(first.thresholds, second.thresholds)
    assert torch.equal(first.tally.both, second.tally.both)


def test_masks_are_dealt_to_images_of_other_sizes(held):
    """Chance is counted for all masks of a size, whatever the sizes of the images."""
    draw = torch.Generator().manual_seed(0)
    vocabulary = Vocabulary(("a",), ("", "one", "two"), torch.tensor([-1, 0, 0]))
    images = [torch.randn(3, side, side, generator=draw) for side in (4, 8) * 8]
    masks = [torch.randint(0, 3, (1, 16, 16), generator=draw).int() for _ in images]
    data = held(images, [Annotation(mask, ()) for mask in masks], vocabulary)
    read = {"net": lambda x: {"layer": functional.adaptive_avg_pool2d(x, 4)}}
    found = dissect_readers(read, data, Plan(min_images=0, shuffles=3), lambda text: None)["net", "layer"]
    own = found.tally.total().active["paper"]
    assert torch.equal(found.dealt.active["paper"], own.expand(3, -1, -1))  # every activation meets some mask
