import pytest
import torch

from kdlens.data.cub import CUB
from kdlens.data.images import as_images
from kdlens.errors import DataError


def rectangle(top, bottom, left, right):
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


def test_splits_and_classes(cub):
    data = CUB(cub)
    assert data.classes == ["Black footed Albatross", "Laysan Albatross"]
    assert data.labels.tolist() == [0, 1]
    assert CUB(cub, "train").labels.tolist() == [0]
    assert len(CUB(cub / "CUB_200_2011", "all")) == 3
    assert as_images(data)[1].image.shape == (3, 20, 30)


def test_masks_are_what_most_annotators_marked(cub):
    data = CUB(cub)
    assert data.masks == "segmentation"
    assert torch.equal(data[0].mask, rectangle(3, 7, 4, 8))


def test_boxes(cub):
    data = CUB(cub, masks="box")
    assert torch.equal(data[0].mask, rectangle(2, 8, 3, 9))
    assert torch.equal(data[1].mask, rectangle(0, 10, 0, 30))
    assert data.boxes[0].tolist() == [3, 2, 9, 8]
    assert CUB(cub, masks="none")[0].mask is None


def test_boxes_stand_in_for_segmentations_that_are_not_there(cub):
    (cub / "segmentations").rename(cub / "elsewhere")
    assert CUB(cub).masks == "box"
    with pytest.raises(DataError, match=r"there is no folder segmentations in .* or beside it"):
        CUB(cub, masks="segmentation")
    (cub / "elsewhere").rename(cub / "CUB_200_2011" / "segmentations")
    assert CUB(cub).masks == "segmentation"


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("images.txt", "1 ../../../etc/passwd\n2 a/b.jpg\n3 c/d.jpg\n", "which leads out of the folder; refused"),
        ("images.txt", "2 001.A/..\\..\\x.jpg\n3 c/d.jpg\n", "which leads out of the folder"),
        ("images.txt", "one a/b.jpg\n", 'has the line "one a/b.jpg"; expected a number and a value'),
        ("image_class_labels.txt", "1 1\n2 7\n3 2\n", "image 2 has no class among the 2"),
        ("image_class_labels.txt", "1 1\n3 2\n", "image 2 has no class"),
        ("image_class_labels.txt", "1 1\n2 x\n3 2\n", "image 2 has no class"),
        ("image_class_labels.txt", f"1 1\n2 {'9' * 5000}\n3 2\n", "image 2 has no class"),
        ("images.txt", "² a/b.jpg\n", "expected a number and a value"),
        ("images.txt", "1\x1b[31m a/b.jpg\n", r'has the line "1\\x1b\[31m a/b.jpg"'),
        ("bounding_boxes.txt", "1 1 1 1 1\n2 1 1 1\n3 1 1 1 1\n", "does not hold left, top, width and height"),
        ("bounding_boxes.txt", "1 1 1 1 1\n", "does not hold left, top, width and height"),
        ("bounding_boxes.txt", "2 a b c d\n3 1 1 1 1\n", "does not hold left, top"),
    ],
)
def test_hostile_and_wrong_lists(cub, file, content, text):
    (cub / "CUB_200_2011" / file).write_text(content)
    with pytest.raises(DataError, match=text):
        CUB(cub, "all" if "passwd" in content else "test", masks="box")


def test_what_is_missing_is_shown(cub):
    (cub / "CUB_200_2011" / "train_test_split.txt").unlink()
    with pytest.raises(
        DataError, match=r"holds no train_test_split\.txt\.\nExpected CUB_200_2011(.|\n)*vision\.caltech"
    ):
        CUB(cub)
