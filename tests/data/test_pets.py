import pytest
import torch

from kdlens.data.images import Images
from kdlens.data.pets import Pets
from kdlens.errors import DataError


def test_breeds_and_species(pets):
    data = Pets(pets)
    assert data.classes == ["Abyssinian", "american_bulldog"]
    assert data.labels.tolist() == [1, 0]
    assert [path.name for path in data.files] == ["american_bulldog_10.jpg", "Abyssinian_2.jpg"]
    species = Pets(pets, labels="species")
    assert species.classes == ["cat", "dog"]
    assert species.labels.tolist() == [1, 0]
    assert len(Pets(pets, "train")) == len(Pets(pets, "trainval")) == 1
    assert len(Pets(pets, "all")) == 3


def test_the_mask_is_the_animal_with_or_without_its_border(pets):
    mask = Pets(pets)[0].mask
    expected = torch.zeros(20, 30, dtype=torch.bool)
    expected[4:10, 4:10] = True
    assert torch.equal(mask, expected)
    inner = Pets(pets, border="background")[0].mask
    expected[:] = False
    expected[5:9, 5:9] = True
    assert torch.equal(inner, expected)
    assert Images(Pets(pets), size=10)[0].mask.shape == (10, 10)


def test_without_trimaps_there_are_no_masks(pets, disk):
    trimap = pets / "annotations" / "trimaps" / "Abyssinian_2.png"
    disk.save(trimap, disk.photo(0, (9, 9))[:, :, 0])
    with pytest.raises(DataError, match=r"Abyssinian_2\.png is \(9, 9\), but its image is \(20, 30\)"):
        Pets(pets)[1]
    trimap.unlink()
    with pytest.raises(DataError, match=r"there is no image .*Abyssinian_2\.png"):
        Pets(pets)[1]
    for path in trimap.parent.iterdir():
        path.unlink()
    trimap.parent.rmdir()
    assert Pets(pets)[0].mask is None


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("../../etc/passwd_1 1 1 1", r"names '../../etc/passwd_1\.png', which leads out of the folder; refused"),
        ("/etc/passwd_1 1 1 1", "leads out of the folder"),
        ("C:/secret_1 1 1 1", "leads out of the folder"),
        ("Abyssinian_1 1 1", 'has the line "Abyssinian_1 1 1"; expected NAME BREED SPECIES NUMBER'),
        ("Abyssinian_1 1 3 1", "expected NAME BREED SPECIES"),
        ("Abyssinian_1 one 1 1", "expected NAME BREED SPECIES"),
        ("Abyssinian_1 ² 1 1", "expected NAME BREED SPECIES"),
        ("Abyssinian_1 0 1 1", "expected NAME BREED SPECIES"),
        ("Abyssinian_1 99999999999 1 1", "expected NAME BREED SPECIES"),  # as many names would fill the memory
        ("Abyssinian_1 \x1b[31m 1 1", r'has the line "Abyssinian_1 \\x1b\[31m 1 1"'),
    ],
)
def test_hostile_and_wrong_lines(pets, line, text):
    (pets / "annotations" / "test.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=text):
        Pets(pets)


def test_what_is_missing_is_shown(pets, tmp_path):
    with pytest.raises(DataError, match='pets has no labels "colour"; choose from breed, species'):
        Pets(pets, labels="colour")
    (pets / "annotations" / "test.txt").write_text("\n")
    with pytest.raises(DataError, match="there are no images in this split"):
        Pets(pets)
    (pets / "annotations" / "test.txt").unlink()
    with pytest.raises(DataError, match=r"holds no annotations/test\.txt\.\nExpected:\n  images/"):
        Pets(pets)
