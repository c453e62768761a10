"""Concepts of a study's own images: the same images, in the same order, at the same size."""

import pytest
import torch
from torch.utils.data import Subset

import kdlens
from kdlens.data.concepts import load_concepts
from kdlens.data.concepts.annotated import ConceptData
from kdlens.data.concepts.own import own_concepts
from kdlens.data.concepts.part import Part
from kdlens.data.resize import fit_labels, fit_mask
from kdlens.errors import DataError


def test_scenes_in_the_order_of_the_study():
    scenes = kdlens.load_dataset("fashion-scenes", count=30)
    images = kdlens.Images(scenes, mean=scenes.mean, std=scenes.std).subset([4, 29, 9])
    known = images.annotated()
    assert isinstance(known, ConceptData)
    assert len(known) == 3
    for i in range(3):
        x, _, mask = images[i]
        assert torch.equal(images.scaled(known.image(i)[None])[0], x)
        assert torch.equal(known.annotation(i).pixels[0] > 0, mask)
    assert known.fingerprint() != images.subset([0, 2, 1]).annotated().fingerprint()


def test_photographs_are_cut_as_the_study_cuts_them(voc, pets):
    for name, root in (("voc", voc), ("pets", pets)):
        images = kdlens.Images(kdlens.load_dataset(name, root=root, split="val" if name == "voc" else "test"), size=12)
        known = images.annotated()
        assert torch.allclose(known.image(0), images[0].image)
        assert known.annotation(0).pixels.shape[1:] == (12, 12)


def test_voc_keeps_all_its_images_and_names_those_without_a_segmentation(voc):
    known = kdlens.Images(kdlens.load_dataset("voc", root=voc, split="val")).annotated()
    assert len(known) == 2
    assert {known.vocabulary.names[label] for label in known.annotation(0).pixels.unique()} == {"", "dog", "person"}
    with pytest.raises(DataError, match=r"2007_000032\.png"):
        known.annotation(1)


def test_breeds_and_species_are_known_whatever_the_labels_are(pets, cub):
    for labels in ("breed", "species"):
        known, places = own_concepts(Subset(kdlens.load_dataset("pets", root=pets, labels=labels), [1, 0]))
        assert places.tolist() == [1, 0]
        named = known.annotation(1).pixels.unique()
        assert [known.vocabulary.names[label] for label in named] == ["", "cat", "Abyssinian"]
    known, _ = own_concepts(kdlens.load_dataset("cub", root=cub, masks="box"))
    assert int((known.annotation(0).pixels[0] > 0).sum()) == 16  # the bird, not its box


def test_other_images_have_none():
    data = [(torch.rand(3, 8, 8), 0), (torch.rand(3, 8, 8), 1)]
    assert kdlens.Images(data).annotated() is None
    assert kdlens.Images(kdlens.load_dataset("fashion")).annotated() is None


def test_annotated_images_know_their_own():
    class Both:
        """A dataset that is annotated itself."""

        name, mean, std, classes = "both", None, None, ["a", "b"]
        scenes = load_concepts("fashion-scenes", count=4)
        vocabulary, image, annotation = scenes.vocabulary, scenes.image, scenes.annotation
        fingerprint = scenes.fingerprint
        __len__ = lambda self: 4  # noqa: E731
        __getitem__ = lambda self, i: (self.scenes.image(range(4)[i]), i % 2)  # noqa: E731

    images = kdlens.Images(Both()).subset([3, 1])
    assert torch.equal(images.annotated().image(0), images[0].image)


def test_labels_are_resized_as_masks_are():
    generator = torch.Generator().manual_seed(0)
    for fit in ("crop", "stretch"):
        labels = torch.randint(0, 60_000, (2, 11, 17), generator=generator).int()
        for size in ((7, 7), (20, 31)):
            found = fit_labels(labels, size, fit)
            assert found.dtype == labels.dtype
            for label in found.unique()[:5]:
                assert torch.equal(found == label, fit_mask(labels == label, size, fit))


def test_a_part_gives_the_images_asked_for():
    scenes = load_concepts("fashion-scenes", count=8)
    part = Part(scenes, torch.tensor([5, 2]))
    assert torch.equal(part.image(1), scenes.image(2))
    assert torch.equal(part.annotation(0).pixels, scenes.annotation(5).pixels)
    assert (part.name, part.mean, part.std) == (scenes.name, scenes.mean, scenes.std)


def test_other_images_as_the_study_s():
    grey = kdlens.Images([(torch.rand(1, 8, 8), 0), (torch.rand(1, 8, 8), 1)], mean=[0.5], std=[0.25])
    x = torch.rand(2, 3, 16, 12)
    scaled = grey.scaled(x)
    assert scaled.shape == (2, 1, 8, 8)
    whole = torch.full((1, 3, 16, 12), 0.75)
    assert torch.allclose(grey.scaled(whole), torch.ones(1, 1, 8, 8))
    colour = kdlens.Images([(torch.rand(3, 8, 8), 0), (torch.rand(3, 8, 8), 1)])
    assert torch.allclose(colour.scaled(torch.full((1, 1, 8, 8), 0.75)), torch.full((1, 3, 8, 8), 0.75))
    unknown = kdlens.Images([(torch.randn(3, 8, 8), 0), (torch.randn(3, 8, 8), 1)])
    with pytest.raises(DataError, match=r"are not in \[0, 1\]; give the mean and std they were normalised with"):
        unknown.scaled(x)
