"""Small folders in exactly the layouts datasets are published in."""

import gzip
import pickle
import struct
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image


def photo(seed, size=(20, 30)):
    """An RGB picture of height and width `size`."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def write_idx(path, array):
    header = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def disk():
    """Tools to write and to damage files."""
    return SimpleNamespace(
        photo=photo, save=save, truncate=truncate, write_idx=write_idx, python2_pickle=python2_pickle
    )


@pytest.fixture
def idx_folder(tmp_path):
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 20), ("t10k", 10)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", np.arange(n, dtype=np.uint8) % 10)
    return tmp_path


def python2_pickle(data, **lists):
    """A pickle as Python 2 and old numpy wrote CIFAR's: text as byte strings, protocol 2."""

    def text(value):
        return b"T" + struct.pack("<I", len(value)) + value

    def numbers(values):
        return b"](" + b"".join(b"K" + bytes([v]) for v in values) + b"e"

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + b"K\x00\x85" + text(b"b") + b"\x87R"
        + b"(K\x01" + b"J" + struct.pack("<i", data.shape[0]) + b"J" + struct.pack("<i", data.shape[1]) + b"\x86"
        + b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R"
        + b"(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + b"\x89" + text(data.tobytes()) + b"tb"
    )  # fmt: skip
    body = text(b"data") + array + b"".join(text(k.encode()) + numbers(v) for k, v in lists.items())
    return b"\x80\x02}(" + body + b"u."


def cifar_part(seed, n=6):
    return np.random.default_rng(seed).integers(0, 256, (n, 3072), dtype=np.uint8)


CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def cifar10(tmp_path):
    """Both versions of the same images below one folder."""
    python, binary = tmp_path / "cifar-10-batches-py", tmp_path / "cifar-10-batches-bin"
    python.mkdir()
    binary.mkdir()
    for seed, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        data, labels = cifar_part(seed), [(seed + i) % 10 for i in range(6)]
        (python / name).write_bytes(python2_pickle(data, labels=labels))
        records = np.concatenate([np.array(labels, dtype=np.uint8)[:, None], data], 1)
        (binary / f"{name}.bin").write_bytes(records.tobytes())
    (python / "batches.meta").write_bytes(pickle.dumps({b"label_names": [c.encode() for c in CIFAR10]}, protocol=2))
    (binary / "batches.meta.txt").write_text("\n".join(CIFAR10) + "\n\n")
    return tmp_path


@pytest.fixture
def cifar100(tmp_path):
    python, binary = tmp_path / "cifar-100-python", tmp_path / "cifar-100-binary"
    python.mkdir()
    binary.mkdir()
    fine_names, coarse_names = [f"fine{i}" for i in range(100)], [f"coarse{i}" for i in range(20)]
    for seed, split in enumerate(("train", "test")):
        data, fine = cifar_part(seed), [(17 * i + seed) % 100 for i in range(6)]
        coarse = [f % 20 for f in fine]
        # as re-saved by a modern Python: the same content, other pickle instructions
        content = {b"data": data, b"fine_labels": fine, b"coarse_labels": coarse, b"filenames": [b"a.png"] * 6}
        (python / split).write_bytes(pickle.dumps(content, protocol=4 if split == "train" else 5))
        records = np.concatenate([np.array([coarse, fine], dtype=np.uint8).T, data], 1)
        (binary / f"{split}.bin").write_bytes(records.tobytes())
    names = {"fine_label_names": fine_names, "coarse_label_names": coarse_names}
    (python / "meta").write_bytes(pickle.dumps(names, protocol=2))
    for name, values in names.items():
        (binary / f"{name}.txt").write_text("\n".join(values) + "\n")
    return tmp_path


@pytest.fixture
def petimages(tmp_path):
    """ASIRRA as it unpacks."""
    for c, name in enumerate(("Cat", "Dog")):
        for i in range(5):
            save(tmp_path / "PetImages" / name / f"{i}.jpg", photo(10 * c + i))
        (tmp_path / "PetImages" / name / "Thumbs.db").write_bytes(b"not an image")
    (tmp_path / "readme[1].txt").write_text("about")
    return tmp_path


@pytest.fixture
def split_folder(tmp_path):
    for split, classes in {"train": ("ant", "bee", "wasp"), "test": ("ant", "wasp")}.items():
        for c, name in enumerate(classes):
            for i in range(3):
                save(tmp_path / split / name / f"{i}.png", photo(100 * c + i))
    return tmp_path


@pytest.fixture
def pets(tmp_path):
    """Three pets; the trimap of each has a 4 x 4 animal with a border of one pixel."""
    rows = [("Abyssinian_1", 1, 1, 1), ("american_bulldog_10", 2, 2, 1), ("Abyssinian_2", 1, 1, 1)]
    for seed, row in enumerate(rows):
        save(tmp_path / "images" / f"{row[0]}.jpg", photo(seed))
        trimap = np.full((20, 30), 2, dtype=np.uint8)
        trimap[4:10, 4:10] = 3
        trimap[5:9, 5:9] = 1
        save(tmp_path / "annotations" / "trimaps" / f"{row[0]}.png", trimap)
    lines = [" ".join(map(str, row)) for row in rows]
    header = ["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids"]
    (tmp_path / "annotations" / "list.txt").write_text("\n".join(header + lines) + "\n")
    (tmp_path / "annotations" / "trainval.txt").write_text("\n".join(lines[:1]) + "\n")
    (tmp_path / "annotations" / "test.txt").write_text("\n".join(lines[1:]) + "\n")
    return tmp_path


@pytest.fixture
def cub(tmp_path):
    """Three birds in two species; segmentations lie beside the folder, as in their own archive."""
    top = tmp_path / "CUB_200_2011"
    names = [
        "001.Black_footed_Albatross/A_0001.jpg",
        "001.Black_footed_Albatross/A_0002.jpg",
        "002.Laysan_Albatross/B_0001.jpg",
    ]
    for seed, name in enumerate(names):
        save(top / "images" / name, photo(seed))
        drawn = np.zeros((20, 30), dtype=np.uint8)
        drawn[2:8, 3:9] = 102  # two of five annotators
        drawn[3:7, 4:8] = 204  # four of five
        save(tmp_path / "segmentations" / name.replace(".jpg", ".png"), drawn)
    (top / "images.txt").write_text("".join(f"{i + 1} {name}\n" for i, name in enumerate(names)))
    (top / "image_class_labels.txt").write_text("1 1\n2 1\n3 2\n")
    (top / "classes.txt").write_text("1 001.Black_footed_Albatross\n2 002.Laysan_Albatross\n")
    (top / "train_test_split.txt").write_text("1 1\n2 0\n3 0\n")
    (top / "bounding_boxes.txt").write_text("1 3.0 2.0 6.0 6.0\n2 3.0 2.0 6.0 6.0\n3 0.0 0.0 30.0 10.0\n")
    return tmp_path


VOC_XML = """<annotation>
  <folder>VOC2012</folder><filename>{name}.jpg</filename>
  <size><width>30</width><height>20</height><depth>3</depth></size>
  <object><name>dog</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>
    <bndbox><xmin>3</xmin><ymin>2</ymin><xmax>12</xmax><ymax>11</ymax></bndbox></object>
  <object><name>person</name><difficult>0</difficult>
    <bndbox><xmin>20</xmin><ymin>2</ymin><xmax>22</xmax><ymax>4</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></part></object>
  <object><name>cat</name><difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object>
</annotation>
"""


@pytest.fixture
def voc(tmp_path):
    """Two images; in the first the largest easy object is a dog, segmented as instance 1 beside another dog."""
    top = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("Annotations", "ImageSets/Main", "ImageSets/Segmentation"):
        (top / folder).mkdir(parents=True)
    for seed, name in enumerate(("2007_000027", "2007_000032")):
        save(top / "JPEGImages" / f"{name}.jpg", photo(seed))
        (top / "Annotations" / f"{name}.xml").write_text(VOC_XML.format(name=name))
    classes, instances = np.zeros((20, 30), dtype=np.uint8), np.zeros((20, 30), dtype=np.uint8)
    classes[2:10, 3:11], instances[2:10, 3:11] = 12, 1
    classes[15:18, 20:28], instances[15:18, 20:28] = 12, 2
    classes[1:4, 19:22], instances[1:4, 19:22] = 15, 3
    classes[2, 3:11] = instances[2, 3:11] = 255
    for folder, values in (("SegmentationClass", classes), ("SegmentationObject", instances)):
        image = Image.fromarray(values, mode="P")
        image.putpalette([(31 * i) % 256 for i in range(768)])
        (top / folder).mkdir()
        image.save(top / folder / "2007_000027.png")
    for kind, names in (("Main", ["2007_000027", "2007_000032"]), ("Segmentation", ["2007_000027"])):
        for split in ("train", "val", "trainval"):
            (top / "ImageSets" / kind / f"{split}.txt").write_text("\n".join(names) + "\n")
    (top / "ImageSets" / "Main" / "dog_val.txt").write_text("2007_000027  1\n2007_000032  1\n")
    return tmp_path
