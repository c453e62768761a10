import pytest
import torch

from kdlens.data.images import as_images
from kdlens.data.voc import VOC
from kdlens.data.voc_xml import VocObject, read_objects
from kdlens.errors import DataError, UnsafeFileError

BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">]>
<annotation><object><name>&lol2;</name></object></annotation>"""
OUTSIDE = """<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><folder>&x;</folder></annotation>"""


def annotation(voc):
    return voc / "VOCdevkit" / "VOC2012" / "Annotations" / "2007_000027.xml"


def test_the_largest_object_gives_the_class(voc):
    data = VOC(voc)
    assert [data.classes[c] for c in data.labels] == ["dog", "dog"]  # the larger cat is marked difficult
    assert len(data.classes) == 20
    assert as_images(data)[0].image.shape == (3, 20, 30)
    assert len(VOC(voc / "VOCdevkit" / "VOC2012", "train")) == 2


def test_objects_are_read_without_their_parts(voc):
    dog, person, cat = read_objects(annotation(voc))
    assert dog == VocObject("dog", (2, 1, 12, 11))
    assert dog.area == 100
    assert person.box == (19, 1, 22, 4)
    assert cat.difficult


def test_masks_from_the_box(voc):
    expected = torch.zeros(20, 30, dtype=torch.bool)
    expected[1:11, 2:12] = True
    assert torch.equal(VOC(voc)[0].mask, expected)
    assert VOC(voc, masks="none")[0].mask is None


def test_masks_from_the_segmentation_take_the_right_dog(voc):
    data = VOC(voc, masks="segmentation")
    assert len(data) == 1
    expected = torch.zeros(20, 30, dtype=torch.bool)
    expected[3:10, 3:11] = True  # without the void row
    assert torch.equal(data[0].mask, expected)


@pytest.mark.parametrize("content", [BOMB, OUTSIDE])
def test_entities_are_refused(voc, content):
    annotation(voc).write_text(content)
    with pytest.raises(UnsafeFileError, match=r"2007_000027\.xml declares a document type or entities"):
        VOC(voc)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<annotation><object>", "is not an annotation of VOC"),
        ("", "is not an annotation of VOC"),
        ("<annotation></annotation>", "names no object"),
        ("<annotation><object><name>cat</name></object></annotation>", "is not an annotation of VOC: 'bndbox/xmin'"),
        ("<a>" * 40 + "</a>" * 40, "nested more than 32 deep"),
        (" " * 5_000_000, "an annotation has a few thousand"),
    ],
)
def test_wrong_annotations(voc, content, text):
    annotation(voc).write_text(content)
    with pytest.raises(DataError, match=text):
        VOC(voc)


def test_unknown_classes_and_splits(voc):
    annotation(voc).write_text(annotation(voc).read_text().replace("person", "unicorn"))
    with pytest.raises(DataError, match='names the class "unicorn", which VOC does not have'):
        VOC(voc)
    with pytest.raises(
        DataError, match='no split "test"; the annotations of the test split are not public; choose from'
    ):
        VOC(voc, "test")


def test_hostile_names_and_missing_files(voc):
    names = voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "val.txt"
    names.write_text("../../../../etc/passwd\n")
    with pytest.raises(DataError, match="which leads out of the folder; refused"):
        VOC(voc)
    names.write_text("2007_999999\n")
    with pytest.raises(DataError, match=r"cannot read .*2007_999999\.xml"):
        VOC(voc)
    with pytest.raises(DataError, match=r"holds no JPEGImages\.\nExpected VOC2012"):
        VOC(names.parent)
