import gzip

import numpy as np
import pytest
import torch

from kdlens.data.fashion import Fashion, FashionMNIST, embedded_pixels, garment_masks
from kdlens.data.images import as_images
from kdlens.errors import DataError


@pytest.mark.parametrize(("split", "each"), [("train", 600), ("test", 200)])
def test_the_embedded_part_is_balanced(split, each):
    data = Fashion(split)
    assert data.labels.bincount().tolist() == [each] * 10
    assert data[3].image.shape == (1, 28, 28)
    assert data[3].image.max() <= 1
    assert data.images.flatten(1).float().std(1).min() > 10


def test_training_and_test_images_are_disjoint():
    seen = {image.numpy().tobytes() for image in embedded_pixels("train")}
    assert len(seen) == 6000
    assert not any(image.numpy().tobytes() in seen for image in embedded_pixels("test"))


def test_the_labels_are_right():
    """Class means of the training part recognise the test part as well as they do on the whole of Fashion-MNIST."""
    train, test = Fashion("train"), Fashion("test")
    means = torch.stack([train.images[train.labels == c].float().mean(0).flatten() for c in range(10)])
    predicted = torch.cdist(test.images.float().flatten(1), means).argmin(1)
    assert 0.63 < (predicted == test.labels).float().mean() < 0.74  # published nearest-centroid accuracy: 0.68


def test_masks_hold_the_garment():
    data = Fashion("test")
    shares = data.masks.float().mean((1, 2))
    assert shares.min() > 0.03
    assert shares.max() < 1
    assert (data.images[:, 0].float() * ~data.masks).sum() < 0.01 * data.images.float().sum()


def test_masks_close_gaps_and_drop_specks():
    image = torch.zeros(1, 20, 20, dtype=torch.uint8)
    image[0, 4:14, 4:14] = 200
    image[0, 8, 8] = 0  # a dark button
    image[0, 17, 17] = 255  # a speck
    image[0, 2, 2:10] = 9  # the halo of rounding
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[4:14, 4:14] = True
    assert torch.equal(garment_masks(image)[0], expected)


def test_idx_files(idx_folder):
    data = FashionMNIST(idx_folder, "train")
    assert len(data) == 20
    assert data.labels[:3].tolist() == [0, 1, 2]
    rng = np.random.default_rng(0)
    assert np.array_equal(data.images[:, 0].numpy(), rng.integers(0, 256, (20, 28, 28), dtype=np.uint8))
    assert FashionMNIST(idx_folder, "test", masks=False)[0].mask is None
    assert as_images(data)[0].mask.shape == (28, 28)


def test_idx_files_unpacked_and_in_torchvisions_folder(idx_folder, tmp_path_factory):
    raw = tmp_path_factory.mktemp("data") / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in idx_folder.iterdir():
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    assert torch.equal(FashionMNIST(raw.parents[1]).images, FashionMNIST(idx_folder).images)


def damage(folder, disk, kind):
    images, labels = folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte.gz"
    if kind == "missing":
        labels.unlink()
    elif kind == "truncated archive":
        disk.truncate(images)
    elif kind == "truncated":
        images.write_bytes(gzip.compress(gzip.decompress(images.read_bytes())[:-9]))
    elif kind == "not idx":
        images.write_bytes(gzip.compress(b"hello there"))
    elif kind == "swapped":
        images.write_bytes(labels.read_bytes())
    elif kind == "fewer labels":
        disk.write_idx(labels, np.zeros(9, dtype=np.uint8))
    elif kind == "huge":
        images.write_bytes(gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12))
    else:
        disk.write_idx(labels, np.full(10, 12, dtype=np.uint8))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("missing", r"holds no t10k-labels-idx1-ubyte\.\nExpected, gzipped or not"),
        ("truncated archive", "t10k-images-idx3-ubyte.gz cannot be read"),
        ("truncated", "truncated or padded: 7840 bytes announced, 7831 found"),
        ("not idx", "is not an idx file"),
        ("swapped", "holds type 0x08 with 1 dimensions; expected bytes .* with 3"),
        ("fewer labels", "10 images but 9 labels"),
        ("huge", "truncated or padded"),
        ("label 12", "label 12 in .*; expected 0 to 9"),
    ],
)
def test_damaged_idx_files(idx_folder, disk, kind, text):
    damage(idx_folder, disk, kind)
    with pytest.raises(DataError, match=text):
        FashionMNIST(idx_folder)


def test_missing_folders_show_the_layout(tmp_path):
    with pytest.raises(DataError, match=r"there is no folder .*nowhere(.|\n)*Get them from https"):
        FashionMNIST(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"fashion-mnist is read from a folder; give root=FOLDER"):
        FashionMNIST()
