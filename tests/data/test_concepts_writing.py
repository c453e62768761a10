"""Annotated data written in Broden's format and read again."""

import csv

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from kdlens.data.concepts import Annotation, Broden, SceneConcepts, Vocabulary, as_concepts, write_broden
from kdlens.data.concepts.annotated import fingerprint_of
from kdlens.errors import DataError, RunFolderError

MASK = arrays.arrays(np.int32, (3, 4), elements=st.integers(0, 3))
ITEM = st.fixed_dictionaries({"object": st.lists(MASK, max_size=3), "scene": st.lists(st.integers(1, 2), max_size=2)})


class Written:
    """Annotations as they are."""

    name = "written"
    mean = std = None

    def __init__(self, annotations, vocabulary, images=None):
        self.annotations, self.vocabulary, self.images = annotations, vocabulary, images

    def __len__(self):
        return len(self.annotations)

    def image(self, index):
        if self.images is not None:
            return self.images[index]
        return torch.full((3, 6, 5), index / 255)

    def annotation(self, index):
        return self.annotations[index]

    def fingerprint(self):
        return fingerprint_of(self)


def same(one, other, shift=0):
    pixels = torch.where(one.pixels > 0, one.pixels + shift, 0)
    return torch.equal(pixels, other.pixels) and tuple(label + shift for label in one.whole) == other.whole


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(ITEM, min_size=1, max_size=3), first=st.sampled_from([1, 254, 300, 65_531]))
def test_what_is_written_is_read(tmp_path_factory, items, first):
    words = Vocabulary.of({"object": ["a", "b", "c"], "scene": ["d", "e"]})
    annotations = []
    for item in items:
        masks = [mask for mask in item["object"] if mask.any()]
        pixels = torch.from_numpy(np.stack(masks)) if masks else torch.zeros(1, 3, 4, dtype=torch.int32)
        annotations.append(Annotation(pixels, tuple(label + 3 for label in item["scene"])))
    labelled = [a for a in annotations if a.whole or a.pixels.any()]
    folder = write_broden(Written(annotations, words), tmp_path_factory.mktemp("folder"), first_label=first)
    if not labelled:
        with pytest.raises(DataError, match="has a label in object, scene"):
            Broden(folder)
        return
    data = Broden(folder)
    assert len(data) == len(labelled)
    assert all(same(labelled[i], data.annotation(i), first - 1) for i in range(len(data)))
    assert data.vocabulary.categories == words.categories
    assert data.vocabulary.names == ("", *[""] * (first - 1), *words.names[1:])
    assert torch.equal(data.vocabulary.primary[first:], words.primary[1:])


def test_scenes_come_back_exactly(tmp_path):
    scenes = SceneConcepts("test", count=5, size=16)
    data = Broden(write_broden(scenes, tmp_path / "scenes", first_label=300))
    assert len(data) == 5
    for i in range(5):
        assert torch.equal(data.image(i), scenes.image(i))
        assert same(scenes.annotation(i), data.annotation(i), 299)
    mask = np.array(Image.open(next((tmp_path / "scenes" / "images").rglob("000000_texture.png"))))
    texture = int(scenes.annotation(0).pixels[2, 0, 0]) + 299
    assert mask[0, 0].tolist() == [texture - 256, 1, 0]


def test_a_copy_of_a_copy_is_the_same(tmp_path):
    scenes = SceneConcepts("test", count=3, size=16)
    first = Broden(write_broden(scenes, tmp_path / "first"))
    second = Broden(write_broden(first, tmp_path / "second"))
    for i in range(3):
        assert torch.equal(first.image(i), second.image(i))
        assert same(first.annotation(i), second.annotation(i))
    for name in ("label.csv", "category.csv", "c_object.csv", "c_color.csv", "c_texture.csv"):
        assert (tmp_path / "first" / name).read_text() == (tmp_path / "second" / name).read_text()


def test_a_mask_of_several_categories_is_divided(tmp_path):
    words = Vocabulary(("material", "object"), ("", "oak", "table", "pine"), torch.tensor([-1, 0, 1, 0]))
    pixels = torch.tensor([[[1, 2], [2, 0]], [[0, 0], [3, 0]]])
    data = Broden(write_broden(Written([Annotation(pixels, (2,))], words), tmp_path))
    again, whole = data.annotation(0)
    assert again.tolist() == [[[1, 0], [0, 0]], [[0, 0], [3, 0]], [[0, 2], [2, 0]], [[2, 2], [2, 2]]]
    assert whole == ()  # a number beside a mask is a full mask
    assert data.vocabulary.primary.tolist() == words.primary.tolist()
    assert sorted(path.name for path in (tmp_path / "images").rglob("*.png")) == [
        "000000.png", "000000_material_1.png", "000000_material_2.png", "000000_object.png",
    ]  # fmt: skip


def test_the_tables_count(tmp_path):
    words = Vocabulary(("object", "scene"), ("", "a", "", "never", "d"), torch.tensor([-1, 0, -1, 0, 1]))
    half, quarter = torch.tensor([[[1, 1], [0, 0]]]), torch.tensor([[[1, 0], [0, 0]]])
    nothing = Annotation(torch.zeros(1, 2, 2, dtype=torch.int32), ())
    write_broden(Written([Annotation(half, (4,)), nothing, Annotation(quarter, ())], words), tmp_path)
    assert rows(tmp_path / "c_object.csv") == [
        {"code": "1", "number": "1", "name": "a", "frequency": "2", "coverage": "0.750000"},
        {"code": "2", "number": "3", "name": "never", "frequency": "0", "coverage": "0.000000"},
    ]
    assert rows(tmp_path / "label.csv")[2] == {
        "number": "4", "name": "d", "category": "scene(1)", "frequency": "1", "coverage": "1.000000", "syns": "",
    }  # fmt: skip
    assert rows(tmp_path / "category.csv")[0] == {
        "name": "object", "first": "1", "last": "3", "count": "2", "frequency": "2",
    }  # fmt: skip
    index = rows(tmp_path / "index.csv")
    assert [row["object"] for row in index] == ["written/000000_object.png", "written/000002_object.png"]
    assert [row["scene"] for row in index] == ["4", ""]
    assert [index[0][side] for side in ("ih", "iw", "sh", "sw")] == ["6", "5", "2", "2"]
    assert Broden(tmp_path).vocabulary.primary.tolist() == words.primary.tolist()


def test_jpg_as_broden_has_them(tmp_path):
    scenes = SceneConcepts("test", count=2, size=64)
    data = Broden(write_broden(scenes, tmp_path, image_format="jpg"))
    assert [file.suffix for file in data.files] == [".jpg", ".jpg"]
    assert float((data.image(0) - scenes.image(0)).abs().mean()) < 0.05
    assert same(scenes.annotation(0), data.annotation(0))
    with pytest.raises(DataError, match='write_broden has no image_format "gif"; choose from png, jpg'):
        write_broden(scenes, tmp_path / "b", image_format="gif")


def test_grey_images_come_back_with_three_channels(tmp_path):
    grey = torch.arange(30).reshape(1, 6, 5) / 255
    words = Vocabulary.of({"scene": ["a"]})
    annotation = Annotation(torch.zeros(1, 6, 5, dtype=torch.int32), (1,))
    data = Broden(write_broden(Written([annotation], words, [grey]), tmp_path))
    assert torch.equal(data.image(0), grey.expand(3, -1, -1))


def test_a_folder_in_use_is_left_alone(tmp_path):
    scenes = SceneConcepts("test", count=1)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match="is not an empty folder; choose a new one"):
        write_broden(scenes, tmp_path)
    with pytest.raises(DataError, match=r"letter\.txt is not an empty folder"):
        write_broden(scenes, tmp_path / "letter.txt")
    with pytest.raises(RunFolderError, match="there is no folder"):
        write_broden(scenes, tmp_path / "no" / "such")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("annotation", "words", "options", "text"),
    [
        (((), 2), {"a": ["x"]}, {}, "image 0 has label 2, which is in no category of the vocabulary"),
        (((), 1), {"../a": ["x"]}, {}, 'the category "../a" cannot be written, as it becomes part of file names'),
        (((), 1), {"a;b": ["x"]}, {}, 'the category "a;b" cannot be written'),
        (((), 1), {"a": ["x"], "A": ["x"]}, {}, "differ in upper and lower case alone: a, A; rename one"),
        (((), 1), {"a": ["x"]}, {"first_label": 0}, "first_label is 0, with 1 labels; all must lie in 1 to 65535"),
        (((), 1), {"a": ["x", "y"]}, {"first_label": 65_535}, "first_label is 65535, with 2 labels"),
    ],
)
def test_what_the_format_cannot_hold(tmp_path, annotation, words, options, text):
    given = Annotation(torch.zeros(1, 2, 2, dtype=torch.int32), annotation[1:])
    with pytest.raises(DataError, match=text):
        write_broden(Written([given], Vocabulary.of(words)), tmp_path, **options)
    with pytest.raises(DataError, match=r"holds no index\.csv|no folder"):
        Broden(tmp_path)


@pytest.mark.parametrize(
    "image",
    [torch.full((3, 4, 4), 1.5), torch.full((3, 4, 4), -0.5), torch.zeros(4, 4, 4), torch.full((3, 4, 4), torch.nan)],
)
def test_images_that_are_no_pictures(tmp_path, image):
    annotation = Annotation(torch.ones(1, 2, 2, dtype=torch.int32), ())
    with pytest.raises(DataError, match=r"image 0 has shape .*; expected 1 or 3 channels in \[0, 1\]"):
        write_broden(Written([annotation], Vocabulary.of({"a": ["x"]}), [image]), tmp_path)


def test_any_dataset_can_be_written(tmp_path):
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[1] = True
    given_ = as_concepts([(torch.zeros(3, 4, 4), {"object": {"cat": mask, "ear": mask.T}, "scene": "garden"})])
    data = Broden(write_broden(given_, tmp_path))
    assert same(given_.annotation(0), data.annotation(0))
    assert data.vocabulary.names == given_.vocabulary.names
