"""Concepts of the named data sets, and opening them by name."""

import numpy as np
import pytest
import torch
from PIL import Image

import kdlens
from kdlens.data.concepts import CONCEPTS, ConceptData, SceneConcepts, Vocabulary, as_concepts, load_concepts
from kdlens.data.concepts.segmented import CUBConcepts, PetConcepts, VOCConcepts
from kdlens.data.cub import CUB
from kdlens.data.pets import Pets
from kdlens.data.scenes import FashionScenes
from kdlens.data.voc import VOC_CLASSES
from kdlens.errors import DataError, UnknownNameError


def named(data, index, channel):
    """Names of a channel's pixels."""
    pixels = data.annotation(index).pixels[channel]
    return np.array(data.vocabulary.names, dtype=object)[pixels.numpy()]


@pytest.mark.parametrize("options", [{"size": 32}, {"size": 17, "classes": ["Bag", "Dress"]}, {"tint": False}])
def test_scenes_know_every_pixel(options):
    data = SceneConcepts("test", count=70, bias=0.5, **options)
    scenes = FashionScenes("test", count=70, bias=0.5, **options)
    assert isinstance(data, ConceptData)
    for i in (69, 0, 64):
        scene = scenes.scene(i)
        assert torch.equal(data.image(i), scene.image)
        assert (named(data, i, 0) == np.where(scene.mask.numpy(), scenes.classes[scene.label], "")).all()
        assert (named(data, i, 1) == np.array(scenes.colour_names)[scene.colours.numpy()]).all()
        assert (named(data, i, 2) == np.array(scenes.texture_names)[scene.textures.numpy()]).all()
        assert data.annotation(i).whole == ()
    assert data.vocabulary.categories == ("object", "color", "texture")
    assert data.vocabulary.primary.tolist() == [-1, *[0] * len(scenes.classes), *[1] * 11, *[2] * 11]


def test_scenes_forget_blocks_rather_than_fill_the_memory(monkeypatch):
    expected = SceneConcepts("test", count=200, size=16)
    monkeypatch.setattr("kdlens.data.concepts.scenes._CACHE_BYTES", 2 * 64 * 6 * 16**2)
    small = SceneConcepts("test", count=200, size=16)
    for i in (0, 70, 199, 140, 3):
        assert torch.equal(small.annotation(i).pixels, expected.annotation(i).pixels)
        assert torch.equal(small.image(i), expected.image(i))
        assert len(small._blocks) <= 2
    monkeypatch.setattr("kdlens.data.concepts.scenes._BLOCK_PIXELS", 16**2 * 3)
    tiny = SceneConcepts("test", count=200, size=16)
    assert torch.equal(tiny.annotation(199).pixels, expected.annotation(199).pixels)


def test_the_fingerprint_of_scenes_is_that_of_what_they_are():
    first = SceneConcepts("test", count=20)
    assert first.fingerprint() == SceneConcepts.of(FashionScenes("test", count=20)).fingerprint()
    others = [
        SceneConcepts("test", count=20, seed=1),
        SceneConcepts("test", count=19),
        SceneConcepts("train", count=20),
    ]
    assert len({first.fingerprint(), *(other.fingerprint() for other in others)}) == 4


def test_there_is_no_scene_out_of_range():
    for index in (-1, 2):
        with pytest.raises(IndexError, match="there is no scene"):
            SceneConcepts("test", count=2).annotation(index)


def test_voc_gives_every_object_and_leaves_the_void_out(voc):
    data = VOCConcepts(voc)
    pixels, whole = data.annotation(0)
    assert whole == ()
    assert pixels.shape == (1, 20, 30)
    values = np.array(Image.open(voc / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_000027.png"))
    assert np.array_equal(pixels[0], np.where(values == 255, 0, values))
    names = named(data, 0, 0)
    assert (names[16, 21], names[2, 20], names[2, 4], names[0, 0]) == ("dog", "person", "", "")
    assert data.vocabulary.names == ("", *VOC_CLASSES)
    assert data.image(0).shape == (3, 20, 30)
    assert data.fingerprint() == VOCConcepts(voc).fingerprint()


def test_a_wrong_segmentation_is_named(voc, disk):
    path = voc / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "2007_000027.png"
    data = VOCConcepts(voc)
    disk.save(path, np.full((20, 30), 21, dtype=np.uint8))
    with pytest.raises(DataError, match=r"2007_000027\.png has class 21; expected 1 to 20, or 255"):
        data.annotation(0)
    disk.save(path, np.zeros((9, 9), dtype=np.uint8))
    with pytest.raises(DataError, match=r"2007_000027\.png is \(9, 9\), but its image is \(20, 30\)"):
        data.annotation(0)
    path.unlink()
    with pytest.raises(DataError, match=r"there is no image .*2007_000027\.png"):
        data.annotation(0)
    photo = voc / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2007_000027.jpg"
    photo.write_text("no image")
    with pytest.raises(DataError, match=r"2007_000027\.jpg is not an image"):
        data.annotation(0)
    photo.unlink()
    with pytest.raises(DataError, match=r"there is no image .*2007_000027\.jpg"):
        data.annotation(0)


@pytest.mark.parametrize("border", ["object", "background"])
def test_pets_have_species_and_breed(pets, border):
    data = PetConcepts(pets, border=border)
    assert data.vocabulary.categories == ("object", "breed")
    for i, (species, breed) in enumerate([("dog", "american_bulldog"), ("cat", "Abyssinian")]):
        mask = Pets(pets, border=border)[i].mask.numpy()
        assert mask.any()
        assert (named(data, i, 0) == np.where(mask, species, "")).all()
        assert (named(data, i, 1) == np.where(mask, breed, "")).all()


def test_pets_without_trimaps_are_refused(pets):
    for path in (pets / "annotations" / "trimaps").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"there is no image .*american_bulldog_10\.png"):
        PetConcepts(pets).annotation(0)
    (pets / "annotations" / "trimaps").rmdir()
    with pytest.raises(DataError, match=r"pets: there is no folder .*trimaps; unpack annotations\.tar\.gz"):
        PetConcepts(pets)


def test_birds_have_their_species(cub):
    data = CUBConcepts(cub)
    mask = CUB(cub, masks="segmentation")[1].mask.numpy()
    assert mask.sum() == 16
    assert (named(data, 1, 0) == np.where(mask, "bird", "")).all()
    assert (named(data, 1, 1) == np.where(mask, "Laysan Albatross", "")).all()
    assert data.vocabulary.categories == ("object", "species")


@pytest.mark.parametrize("name", ["pets", "cub", "voc"])
def test_segmented_data_by_name(name, request):
    root = request.getfixturevalue(name)
    data = kdlens.load_concepts(name, root=root)
    assert isinstance(data, ConceptData)
    assert data.name == name
    assert data.mean is not None
    image, (pixels, whole) = data.image(0), data.annotation(0)
    assert image.shape[1:] == pixels.shape[1:]
    assert (pixels.dtype, whole) == (torch.int32, ())
    for index in (-1, len(data)):
        with pytest.raises(IndexError, match="there is no image"):
            data.image(index)


def test_opening_by_name():
    data = load_concepts("fashion-scenes", split="train", count=3, size=16)
    assert data.image(2).shape == (3, 16, 16)
    assert load_concepts(data) is data
    assert isinstance(load_concepts(FashionScenes(count=2)), SceneConcepts)
    given = load_concepts([(torch.zeros(3, 4, 4), {"scene": 2})], names={"scene": ["garden", "street"]})
    assert given.vocabulary.names[given.annotation(0).whole[0]] == "street"
    assert CONCEPTS.names() == ["broden", "cub", "fashion-scenes", "pets", "voc"]


def test_what_cannot_be_opened():
    with pytest.raises(UnknownNameError, match='unknown concept data "brodn"; did you mean "broden"'):
        load_concepts("brodn")
    with pytest.raises(DataError, match='concept data "broden" has no option "category"; did you mean "categories"'):
        load_concepts("broden", category=["object"])
    with pytest.raises(DataError, match='concept data "fashion-scenes" has no option "sise"; did you mean "size"'):
        load_concepts("fashion-scenes", sise=3)
    with pytest.raises(DataError, match='concept data "fashion-scenes" has no option "root"'):
        load_concepts("fashion-scenes", root="here")
    with pytest.raises(DataError, match='a list has no option "nams"; did you mean "names"'):
        load_concepts([1], nams={})
    with pytest.raises(DataError, match="fashion-scenes has its names, mean and std already; leave them out"):
        as_concepts(SceneConcepts(count=2), names={"object": ["a"]})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (((), ("",), torch.tensor([-1])), "a vocabulary needs categories, each once"),
        ((("a", "a"), ("",), torch.tensor([-1])), "a vocabulary needs categories, each once"),
        ((("a",), ("x",), torch.tensor([-1])), "it must be empty"),
        ((("a",), (), torch.tensor([])), "it must be empty"),
        ((("a",), ("", "x"), torch.tensor([-1])), "one entry for each of the 2 names"),
        ((("a",), ("", "x"), torch.tensor([0, 0])), "and -1 for the first|-1 for the first"),
        ((("a",), ("", "x"), torch.tensor([-1, 1])), "between -1 and 0, the last category"),
        ((("a",), ("",) * 65_537, torch.full((65_537,), -1)), "at most 65,535 labels; got 65,536"),
    ],
)
def test_vocabularies_that_do_not_fit_together(arguments, text):
    with pytest.raises(DataError, match=text):
        Vocabulary(*arguments)
