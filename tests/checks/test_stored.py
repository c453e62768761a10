"""Stored outputs of a teacher: read from arrays and files, never run."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kdlens.checks.stored import read_stored
from kdlens.errors import ConfigError, DataError


@pytest.mark.parametrize("kind", [">f4", "f2", "u2", "i8"])
def test_arrays_of_any_real_numbers_are_read(kind, tmp_path):
    array = np.arange(6).reshape(2, 3).astype(kind)
    np.save(tmp_path / "a.npy", array)
    for stored in (array, tmp_path / "a.npy", str(tmp_path / "a.npy")):
        assert read_stored(stored).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_safetensors_hold_one_tensor(tmp_path):
    one = torch.rand(2, 3)
    save_file({"logits": one}, tmp_path / "a.safetensors")
    assert torch.equal(read_stored(tmp_path / "a.safetensors"), one)
    save_file({"a": one, "b": one + 1}, tmp_path / "b.safetensors")
    with pytest.raises(ConfigError, match="holds 2 tensors"):
        read_stored(tmp_path / "b.safetensors")


@pytest.mark.parametrize("name", ["a.npy", "a.safetensors"])
def test_damaged_and_missing_files_are_named(name, tmp_path):
    with pytest.raises(DataError, match=f"there is no file .*{name}"):
        read_stored(tmp_path / name)
    (tmp_path / name).write_bytes(b"garbage")
    with pytest.raises(DataError, match=f"{name} is damaged") as caught:
        read_stored(tmp_path / name)
    assert "pickle" not in str(caught.value)


def test_arrays_of_objects_are_refused_and_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    np.save(tmp_path / "a.npy", np.array([Payload()], dtype=object))
    with pytest.raises(DataError, match="no array of numbers"):
        read_stored(tmp_path / "a.npy")
    assert not (tmp_path / "ran").exists()
    with pytest.raises(DataError, match="logits are real numbers, but the array holds complex128"):
        read_stored(np.zeros(3, dtype=complex))
