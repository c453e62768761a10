"""Concepts of foreign datasets, in every way they are written down."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from kdlens.data.concepts import ConceptData, as_concepts
from kdlens.errors import DataError

IMAGE = torch.full((3, 4, 6), 0.5)
LABELS = np.array([[0, 1, 2, 2, 0, 0]] * 4)


def one(concepts, **options):
    return as_concepts([(IMAGE, concepts)], **options)


def told(data, index=0):
    """Name of every label and the number of pixels it has, and names of the whole."""
    pixels, whole = data.annotation(index)
    names = data.vocabulary.names
    counts = [{names[n]: int((channel == n).sum()) for n in channel.unique().tolist() if n} for channel in pixels]
    return counts, [names[label] for label in whole]


@pytest.mark.parametrize(
    "labels",
    [
        LABELS, LABELS.astype(np.uint8), LABELS.astype(np.uint16), LABELS.astype(np.float32), torch.tensor(LABELS),
        torch.tensor(LABELS, dtype=torch.uint8)[None], Image.fromarray(LABELS.astype(np.uint8)), LABELS[:, ::-1],
    ],
    ids=["int64", "uint8", "uint16", "whole floats", "tensor", "one channel", "PIL", "strided"],
)  # fmt: skip
def test_arrays_of_labels(labels):
    data = one({"object": labels})
    assert isinstance(data, ConceptData)
    assert told(data) == ([{"object 1": 4, "object 2": 8}], [])
    assert told(one({"object": labels}, names={"object": ["cat", "dog", "cow"]})) == ([{"cat": 4, "dog": 8}], [])


def test_several_channels_and_categories_one_after_another():
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[0] = True
    data = one(
        {
            "object": np.stack([LABELS, LABELS == 2]),
            "part": {"ear": mask, "tail": (mask * 255).byte()},
            "scene": "garden",
        }
    )
    assert data.vocabulary.categories == ("object", "part", "scene")
    assert told(data) == ([{"object 1": 4, "object 2": 8}, {"object 1": 8}, {"ear": 6}, {"tail": 6}], ["garden"])
    assert data.annotation(0).pixels.dtype == torch.int32


@pytest.mark.parametrize(
    ("value", "whole"),
    [
        ("garden", ["garden"]), (["garden", "day"], ["garden", "day"]), (2, ["scene 2"]), (np.int64(2), ["scene 2"]),
        (torch.tensor(3), ["scene 3"]), ([1, "day"], ["scene 1", "day"]), (("day",), ["day"]),
    ],
)  # fmt: skip
def test_labels_of_the_whole_image(value, whole):
    data = one({"scene": value})
    assert told(data) == ([{}], whole)
    assert data.annotation(0).pixels.shape == (1, 4, 6)  # as large as the image, since nothing else tells


def test_what_is_not_known_is_left_open():
    data = as_concepts([(IMAGE, {}), (IMAGE, {"scene": None, "object": 0}), (IMAGE, {"scene": "a"})])
    assert data.vocabulary.names == ("", "a")
    assert [told(data, i) for i in range(3)] == [([{}], []), ([{}], []), ([{}], ["a"])]


def test_names_by_number_with_gaps_and_beyond():
    data = one(
        {"object": LABELS * 3, "scene": ["street", 1]}, names={"object": {6: "dog", 3: "cat"}, "scene": ["road"]}
    )
    assert told(data) == ([{"cat": 4, "dog": 8}], ["street", "road"])
    assert data.vocabulary.names == ("", "cat", "dog", "road", "street")
    assert told(one({"object": LABELS}, names={"object": ["cat"]})) == ([{"cat": 4, "object 2": 8}], [])
    assert told(one({"scene": "road"}, names={"scene": ["a", "road"]})) == ([{}], ["road"])


def test_the_same_name_in_two_categories_is_two_labels():
    data = one({"color": "orange", "object": "orange"})
    assert data.annotation(0).whole == (1, 2)


class Lazy(Dataset):
    """Dicts; remembers which items were read."""

    name, mean, std = "lazy", [0.4, 0.5, 0.6], [0.1, 0.2, 0.3]

    def __init__(self):
        self.read = []

    def __len__(self):
        return 3

    def __getitem__(self, index):
        self.read.append(index)
        image = np.full((4, 6, 3), 10 * index, dtype=np.uint8)
        return {"image": image, "concepts": {"object": LABELS, "scene": "garden"}}


def test_without_a_scan_nothing_is_read_before_it_is_asked_for():
    dataset = Lazy()
    data = as_concepts(dataset, names={"scene": ["garden"], "object": ["cat", "dog"]}, scan=False)
    assert dataset.read == []
    assert told(data, 2) == ([{"cat": 4, "dog": 8}], ["garden"])
    assert set(dataset.read) == {2}
    assert data.image(2).unique().tolist() == pytest.approx([20 / 255])
    assert (data.name, data.mean, data.std) == ("lazy", (0.4, 0.5, 0.6), (0.1, 0.2, 0.3))
    data = as_concepts(dataset, names={"object": ["cat"], "scen": ["a"]}, scan=False)
    with pytest.raises(DataError, match='image 1 of lazy has the category "scene", which names does not have; did you'):
        data.annotation(1)
    data = as_concepts(dataset, names={"object": ["cat"], "scene": ["gardens"]}, scan=False)
    with pytest.raises(DataError, match='"object" of image 0 of lazy has the label 2; names has no such label'):
        data.annotation(0)
    data = as_concepts(dataset, names={"object": ["cat", "dog"], "scene": ["gardens"]}, scan=False)
    with pytest.raises(
        DataError, match="has the label 'garden'; names has no such label of the category; did you mean"
    ):
        data.annotation(0)
    with pytest.raises(DataError, match="no names are given"):
        as_concepts(dataset, scan=False)


def test_loaders_give_their_dataset():
    data = as_concepts(DataLoader(Lazy(), batch_size=2, shuffle=True))
    assert len(data) == 3
    assert data.image(1).unique().tolist() == pytest.approx([10 / 255])


def test_the_fingerprint_follows_the_content():
    first = one({"object": LABELS})
    assert first.fingerprint() == one({"object": LABELS.astype(np.uint8)}).fingerprint()
    others = [one({"object": LABELS * 2}), one({"object": LABELS}, names={"object": ["a", "b"]}), one({"part": LABELS})]
    assert len({first.fingerprint(), *(other.fingerprint() for other in others)}) == 4


@settings(max_examples=50, deadline=None)
@given(
    labels=arrays.arrays(np.int64, (2, 3, 4), elements=st.sampled_from([0, 1, 5, 300, 65_535])), other=st.integers(1, 9)
)
def test_any_labels_keep_their_places(labels, other):
    data = one({"part": other, "object": labels})
    pixels, whole = data.annotation(0)
    names = np.array(data.vocabulary.names, dtype=object)
    expected = np.where(labels > 0, np.char.add("object ", labels.astype(str)), "")
    assert (names[pixels.numpy()] == expected).all()
    assert [data.vocabulary.names[label] for label in whole] == [f"part {other}"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (LABELS - 1, '"object" of image 0 of list holds the label -1; labels count from 1, and 0 is none'),
        (-3, "holds the label -3"),
        (LABELS * 40_000, "holds the label 80000; the largest that can be is 65535"),
        (np.where(LABELS, np.nan, 0.0), '"object" of image 0 of list holds NaN or infinite values'),
        (torch.full((4, 6), torch.inf), "holds NaN or infinite values"),
        (LABELS / 2, "holds fractions; labels are whole numbers: resize them to the nearest pixel"),
        ({"cat": torch.full((4, 6), torch.nan)}, 'mask "cat" of "object" of image 0 of list holds NaN'),
        ({"cat": torch.zeros(3, 4, 6)}, r'mask "cat" of "object" .* has shape \(3, 4, 6\); expected \(h'),
        ({"cat": torch.zeros(0, 6)}, r"has shape \(0, 6\)"),
        ({3: LABELS}, r"has 3 \(int\) for a name; expected text"),
        ({"cat": "everywhere"}, r"'everywhere' \(str\); expected label numbers"),
        (LABELS[0], r"has shape \(6,\); expected label numbers \(h, w\) or \(c, h, w\)"),
        (np.zeros((9, 9, 3), dtype=int), r"has shape \(9, 9, 3\), channels last; expected \(c, h, w\)"),
        (Image.new("RGB", (6, 4)), "is an image with 3 bands; expected one band, of label numbers"),
        (np.array([["a"]]), "has dtype <U1|is a ndarray"),
        (torch.zeros(4, 6, dtype=torch.complex64), "is a Tensor; expected label numbers"),
        (True, r"is True \(bool\)"),
        (1.5, r"is 1\.5 \(float\)"),
        ("", r"has '' \(str\) for a name; expected text"),
        ([["a"]], "is a list with a list in it"),
        ([True], r"is a list with True \(bool\) in it"),
        ([LABELS], "is a list with a ndarray in it"),
        (object(), "is a object; expected label numbers"),
        ({"a": LABELS, "b": LABELS[:2]}, "has a mask of 2 x 6, but another of this image is 4 x 6; all"),
    ],
)  # fmt: skip
def test_values_that_are_no_annotation_concern_their_image_alone(value, text):
    with pytest.raises(DataError, match=text):
        one({"object": value}).annotation(0)
    data = as_concepts([(IMAGE, {"object": value}), (IMAGE, {"object": LABELS})])
    with pytest.raises(DataError, match=text):
        data.annotation(0)
    assert told(data, 1)[0][0]["object 1"] == 4


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ([IMAGE], r"image 0 of list is a Tensor; expected \(image, \{category: mask or label\}\)"),
        ([(IMAGE, 3)], "the concepts of image 0 of list are a int"),
        ([{"image": IMAGE, "label": 3}], "image 0 of list is a dict; expected"),
        ([], "list holds no images"),
        ("voc", "cannot take concepts from a str"),
        (3, "cannot take concepts from a int"),
        ({"a": 1}, "cannot take concepts from a dict"),
        ([(IMAGE, {}), (IMAGE, {"scene": None})], "none of 2 images has a concept"),
    ],
)
def test_sources_that_are_no_concept_data(source, text):
    with pytest.raises(DataError, match=text):
        as_concepts(source)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"object": "cat"}, r"names\[\"object\"\] is the text 'cat'; expected the names of labels 1, 2"),
        ({"object": ["cat", ""]}, "has '' for label 2; expected text for numbers from 1"),
        ({"object": ["cat", 2]}, "has 2 for label 2"),
        ({"object": {0: "none"}}, "has 'none' for label 0"),
        ({"object": {"1": "cat"}}, "has 'cat' for label '1'"),
        ({"object": ["cat", "cat"]}, r"names\[\"object\"\] has a name twice"),
    ],
)
def test_names_that_name_nothing(names, text):
    with pytest.raises(DataError, match=text):
        one({"object": LABELS}, names=names)


def test_images_are_taken_before_normalisation():
    for image in (IMAGE * 4, IMAGE - 1):
        data = as_concepts([(image, {"scene": "a"})])
        with pytest.raises(
            DataError, match=r"image 0 of list has values from .*; expected \[0, 1\]: leave out the norm"
        ):
            data.image(0)
    assert as_concepts([(IMAGE * 2.01, {"scene": "a"})]).image(0).max() == 1
    with pytest.raises(DataError, match="give both mean and std, or neither"):
        one({"scene": "a"}, mean=[0.5])


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    class Files(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            if index:
                np.array(Image.open(tmp_path / "none.png"))
            return IMAGE, {"object": LABELS}

    data = as_concepts(Files())
    assert data.vocabulary.names == ("", "object 1", "object 2")
    for ask in (data.image, data.annotation):
        with pytest.raises(DataError, match=r"image 1 of Files cannot be read: .*none\.png"):
            ask(1)
    with pytest.raises(IndexError, match="there is no image 2"):
        data.image(2)
