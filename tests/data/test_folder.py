import logging

import pytest
import torch

from kdlens.data.folder import ImageFolder
from kdlens.data.images import Images, as_images
from kdlens.errors import DataError


def test_asirra(petimages, disk):
    data = ImageFolder(petimages)
    assert data.classes == ["Cat", "Dog"]
    assert data.labels.tolist() == [0] * 5 + [1] * 5
    assert data[0].image.shape == (3, 20, 30)
    assert data[0].mask is None
    assert torch.equal(ImageFolder(petimages / "PetImages").labels, data.labels)
    assert as_images(data).name == "PetImages"


def test_plant_village(tmp_path, disk):
    for name in ("Apple___healthy", "Apple___Apple_scab"):
        disk.save(tmp_path / "color" / name / "a b!.JPG", disk.photo(0))
        disk.save(tmp_path / "color" / name / "nested" / "c.JPG", disk.photo(1))
    data = ImageFolder(tmp_path)
    assert data.classes == ["Apple___Apple_scab", "Apple___healthy"]
    assert len(data) == 4


def test_split_folders_share_their_labels(split_folder):
    train = ImageFolder(split_folder, "train")
    assert train.classes == ["ant", "bee", "wasp"]
    assert len(train) == 9
    with pytest.raises(DataError, match='class "bee" has no images in split "test"'):
        ImageFolder(split_folder, "test")
    test = ImageFolder(split_folder, "test", classes=["wasp", "ant"])
    assert test.labels.tolist() == [0] * 3 + [1] * 3
    assert test.files[0].parent.name == "wasp"
    assert len(ImageFolder(split_folder, "all")) == 15


def test_pixels_are_those_of_the_file(split_folder, disk):
    data = ImageFolder(split_folder, "train")
    expected = torch.from_numpy(disk.photo(101)).permute(2, 0, 1)
    assert torch.equal((data[4].image * 255).byte(), expected)
    assert Images(data, size=16).batch(torch.arange(9))[0].shape == (9, 3, 16, 16)


def test_holdout_divides_a_folder_without_splits(tmp_path, disk):
    for name in ("a", "b"):
        for i in range(60):
            disk.save(tmp_path / name / f"{i}.png", disk.photo(i, (2, 2)))
    train, test = ImageFolder(tmp_path, "train", holdout=0.25), ImageFolder(tmp_path, "test", holdout=0.25)
    assert set(train.files).isdisjoint(test.files)
    assert len(train) + len(test) == 120
    assert 15 < len(test) < 45
    disk.save(tmp_path / "a" / "new.png", disk.photo(1))
    assert set(test.files) <= set(ImageFolder(tmp_path, "test", holdout=0.25).files)


def test_without_split_folders_there_is_nothing_to_train_on(petimages):
    with pytest.raises(DataError, match=r'no folder for the split "train"; give holdout=0.2 for both'):
        ImageFolder(petimages, "train")
    assert len(ImageFolder(petimages, "all")) == len(ImageFolder(petimages, "test")) == 10


def test_a_truncated_image_is_named_or_skipped(petimages, disk, caplog):
    disk.truncate(petimages / "PetImages" / "Cat" / "3.jpg")
    (petimages / "PetImages" / "Dog" / "2.jpg").write_bytes(b"")
    data = ImageFolder(petimages)
    with pytest.raises(DataError, match=r"Cat/3\.jpg is truncated or not an image"):
        data[3]
    with pytest.raises(DataError, match=r"Dog/2\.jpg is truncated or not an image"):
        as_images(data).subset([7])[0]
    with caplog.at_level(logging.WARNING, "kdlens"):
        kept = ImageFolder(petimages, on_error="skip")
    assert kept.labels.tolist() == [0] * 4 + [1] * 4
    assert [path.name for path in kept.skipped] == ["3.jpg", "2.jpg"]
    assert "left out: " in caplog.text


def test_an_implausibly_large_image_is_not_decoded(petimages, monkeypatch):
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match="implausibly large and was not decoded"):
        ImageFolder(petimages)[0]


def test_hostile_file_names_cannot_play_with_the_terminal(tmp_path, disk):
    disk.save(tmp_path / "a" / "ok.png", disk.photo(0))
    (tmp_path / "a" / "\x1b[31mred\n.png").write_bytes(b"no image")
    data = ImageFolder(tmp_path)
    with pytest.raises(DataError) as caught:
        _ = [data[i] for i in range(2)]
    assert r"\x1b[31mred\n.png" in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"split": "dev"}, 'folder has no split "dev"; choose from train, val, test, all'),
        ({"on_error": "hide"}, 'no on_error "hide"'),
        ({"classes": ["Cats"]}, 'there is no class "Cats" in .*; did you mean "Cat"'),
        ({"holdout": 1.0, "split": "train"}, "holdout 1.0 is a fraction"),
        ({"split": "val"}, 'no folder for the split "val"'),
    ],
)
def test_bad_options(petimages, options, text):
    with pytest.raises(DataError, match=text):
        ImageFolder(petimages, **options)


def test_empty_folders(tmp_path, split_folder):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(
        DataError, match=r"holds no class folders\.\nExpected one folder for each class(.|\n)*PlantVillage"
    ):
        ImageFolder(empty)
    (empty / "cat").mkdir()
    with pytest.raises(DataError, match='class "cat" has no images'):
        ImageFolder(empty)
    with pytest.raises(DataError, match=r'has no split "val"; choose from .*, all'):
        ImageFolder(split_folder, "val")
    with pytest.raises(DataError, match="leave out holdout"):
        ImageFolder(split_folder, "train", holdout=0.2)
