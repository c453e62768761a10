import os
import pickle

import numpy as np
import pytest
import torch

from kdlens.data.cifar import CIFAR10, CIFAR100
from kdlens.data.images import as_images
from kdlens.data.unpickle import read_plain_pickle
from kdlens.errors import DataError, UnsafeFileError


@pytest.mark.parametrize("split", ["train", "test"])
def test_both_versions_of_cifar10_agree(cifar10, split):
    python, binary = CIFAR10(cifar10, split, version="python"), CIFAR10(cifar10, split, version="binary")
    assert torch.equal(python.images, binary.images)
    assert torch.equal(python.labels, binary.labels)
    assert python.classes == binary.classes
    assert python.classes[9] == "truck"
    assert len(python) == (30 if split == "train" else 6)


def test_pixels_are_where_they_belong(cifar10):
    data = CIFAR10(cifar10, "test")
    row = np.random.default_rng(5).integers(0, 256, (6, 3072), dtype=np.uint8)[2]
    assert data.images[2, 1, 3, 4] == row[1024 + 3 * 32 + 4]  # green plane, row 3, column 4
    assert data[2].label == data.labels[2] == 7
    assert as_images(data)[2].image.shape == (3, 32, 32)
    inner = CIFAR10(cifar10 / "cifar-10-batches-bin", "test")
    assert torch.equal(inner.images, data.images)


@pytest.mark.parametrize("split", ["train", "test"])
def test_both_versions_of_cifar100_agree(cifar100, split):
    python, binary = CIFAR100(cifar100, split, version="python"), CIFAR100(cifar100, split, version="binary")
    assert torch.equal(python.images, binary.images)
    assert torch.equal(python.labels, binary.labels)
    assert torch.equal(python.coarse_labels, binary.coarse_labels)
    assert python.classes == binary.classes == [f"fine{i}" for i in range(100)]


def test_coarse_labels(cifar100):
    coarse, fine = CIFAR100(cifar100, labels="coarse"), CIFAR100(cifar100)
    assert torch.equal(coarse.labels, fine.coarse_labels)
    assert torch.equal(coarse.labels, fine.labels % 20)
    assert coarse.classes == fine.coarse_classes
    assert len(coarse.classes) == 20


class Bomb:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "named"),
    [(os.system, "system"), (eval, "builtins.eval|__builtin__.eval"), (np.load, "numpy.load"), (getattr, "getattr")],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_hostile_pickle_is_named_and_not_run(cifar10, function, named, protocol):
    mark = cifar10 / "run"
    argument = f"touch {mark}" if function is os.system else f"open({str(mark)!r}, 'w')"
    path = cifar10 / "cifar-10-batches-py" / "test_batch"
    path.write_bytes(pickle.dumps({"data": Bomb(function, argument), "labels": [0]}, protocol=protocol))
    with pytest.raises(UnsafeFileError, match=f"test_batch asks for .*({named}).* it was not opened"):
        CIFAR10(cifar10, version="python")
    assert not mark.exists()


HOSTILE = {
    "an object array": pickle.dumps(np.array([{}, 1], dtype=object)),
    "a dtype that holds objects": b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00OK\x00K\x01\x87R.",
    "a changed function": b"\x80\x02c_codecs\nencode\n}X\x0c\x00\x00\x00__defaults__)sb.",
    "an object from outside": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "a subclass of arrays": pickle.dumps(np.zeros(2).view(np.recarray)),
    "another encoding": b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_tricks_with_what_is_allowed_are_refused(tmp_path, kind):
    (tmp_path / "a").write_bytes(HOSTILE[kind])
    with pytest.raises(UnsafeFileError, match=r"it was not opened\. Get it from its publisher again"):
        read_plain_pickle(tmp_path / "a")


def test_a_pickle_cannot_leave_anything_behind(tmp_path):
    (tmp_path / "a").write_bytes(HOSTILE["a changed function"])
    with pytest.raises(UnsafeFileError, match="tries to change a function"):
        read_plain_pickle(tmp_path / "a")
    (tmp_path / "b").write_bytes(pickle.dumps({"a": b"bytes"}, protocol=2))
    assert read_plain_pickle(tmp_path / "b") == {"a": b"bytes"}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_of_all_protocols_comes_through(tmp_path, protocol):
    values = {
        b"data": np.arange(24, dtype=np.uint8).reshape(4, 6), "big": np.arange(3, dtype=">i4"),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "list": [1, 2.5, "text", None, True, np.int64(7)],
    }  # fmt: skip
    (tmp_path / "a").write_bytes(pickle.dumps(values, protocol=protocol))
    found = read_plain_pickle(tmp_path / "a")
    assert np.array_equal(found[b"data"], values[b"data"])
    assert np.array_equal(found["big"], values["big"])
    assert np.array_equal(found["f"], values["f"])
    assert found["list"] == values["list"]


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1})[:-3], b"\x80\x02J\xff\xff\xff\x7f."])
def test_what_is_not_a_pickle_of_a_dict(cifar10, content):
    (cifar10 / "cifar-10-batches-py" / "test_batch").write_bytes(content)
    with pytest.raises(DataError, match=r"test_batch (is truncated or not a pickle|holds a int)"):
        CIFAR10(cifar10, version="python")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"labels": [0]}, r"holds data of NoneType; expected uint8 \(n, 3072\)"),
        ({"data": np.zeros((2, 100), dtype=np.uint8), "labels": [0, 1]}, r"holds data of uint8 \(2, 100\)"),
        ({"data": np.zeros((2, 3072)), "labels": [0, 1]}, "holds data of float64"),
        ({"data": np.zeros((2, 3072), dtype=np.uint8), "labels": [0]}, "does not hold 2 integers as labels"),
        ({"data": np.zeros((2, 3072), dtype=np.uint8), "labels": [0, "x"]}, "does not hold 2 integers"),
        ({"data": np.zeros((2, 3072), dtype=np.uint8), "labels": [0, 10]}, "holds the label 10, but there are 10"),
    ],
)
def test_wrong_contents(cifar10, content, text):
    (cifar10 / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=text):
        CIFAR10(cifar10, version="python")


def test_truncated_records_and_missing_files(cifar10, cifar100, tmp_path):
    records = cifar10 / "cifar-10-batches-bin" / "test_batch.bin"
    records.write_bytes(records.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"is truncated: 18433 bytes are no whole number of records of 3073"):
        CIFAR10(cifar10, version="binary")
    (cifar10 / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(DataError, match=r"holds no data_batch_3\.\nExpected one of these folders"):
        CIFAR10(cifar10, "train", version="python")
    with pytest.raises(DataError, match=r"holds no test and no test\.bin(.|\n)*cs\.toronto\.edu"):
        CIFAR100(tmp_path / "cifar-10-batches-py")
    with pytest.raises(DataError, match='cifar100 has no labels "rough"; choose from fine, coarse'):
        CIFAR100(cifar100, labels="rough")


def test_classes_without_a_list_of_names(cifar10, cifar100):
    (cifar10 / "cifar-10-batches-py" / "batches.meta").unlink()
    assert CIFAR10(cifar10, version="python").classes[0] == "airplane"
    (cifar100 / "cifar-100-binary" / "fine_label_names.txt").unlink()
    assert CIFAR100(cifar100, version="binary").classes[:2] == ["0", "1"]
