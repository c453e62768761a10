"""Files that are no weights: what they ask for is named, what is wrong is said, and nothing in them is run."""

import os
import pickle
import re
import traceback
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from kdlens.errors import ModelError, UnsafeFileError
from kdlens.models.pickle_names import foreign_names
from kdlens.models.weights import read_weights


class Calls:
    """A pickle of this calls a function when it is opened."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Notes:
    """A class of a user's own, as checkpoints often hold."""

    def __init__(self):
        self.text = "epoch 3"


WRITERS = {
    "zip": lambda content, path: torch.save(content, path),
    "legacy": lambda content, path: torch.save(content, path, _use_new_zipfile_serialization=False),
    **{
        f"protocol {protocol}": lambda content, path, p=protocol: path.write_bytes(pickle.dumps(content, protocol=p))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


def refused(path):
    """The error for a file; neither it nor what is printed with it may advise to open the file all the same."""
    with pytest.raises((UnsafeFileError, ModelError)) as caught, warnings.catch_warnings(action="error"):
        read_weights(path)
    printed = "".join(traceback.format_exception(caught.value))
    assert "weights_only" not in printed
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_every_foreign_name_is_told_and_nothing_is_run(write, tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "a.pt"
    content = {
        "state_dict": nn.Linear(2, 1).state_dict(),
        "one": Calls(os.system, f"touch {mark}"),
        "two": Calls(eval, f"open({str(mark)!r}, 'w')"),
        "again": Calls(os.system, f"touch {mark}"),
        "notes": Notes(),
    }
    write(content, path)
    error = refused(path)
    assert isinstance(error, UnsafeFileError)
    for name in ("os.system", "builtins.eval", f"{Notes.__module__}.Notes"):
        assert str(error).count(name) == 1
    assert "OrderedDict" not in str(error)
    assert "_rebuild_tensor" not in str(error)
    assert "torch.save" in str(error)
    assert "save_weights" in str(error)
    assert not mark.exists()


@pytest.mark.parametrize("legacy", [False, True])
def test_a_state_dict_names_nothing_foreign(legacy, tmp_path):
    state = {str(i): torch.zeros(2, dtype=kind) for i, kind in enumerate((torch.half, torch.int64, torch.bfloat16))}
    state["parameter"] = nn.Parameter(torch.zeros(1))
    content = {"state_dict": state, "kind": torch.float32, "shape": torch.Size([1]), "seen": {1, 2}}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    assert foreign_names(tmp_path / "a.pt") == []


def test_tensors_pickled_without_torch_save_are_told(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(nn.Linear(2, 1).state_dict()))
    assert "asks for torch.storage._load_from_bytes" in str(refused(tmp_path / "a.pkl"))


def archive(path, name, content="x"):
    with zipfile.ZipFile(path, "w") as found:
        found.writestr(name, content)


def cut(path, content, share):
    torch.save(content, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])


DAMAGED = {
    "empty": (lambda p: p.write_bytes(b""), "it is empty"),
    "garbage": (lambda p: p.write_bytes(bytes(range(200, 256)) * 9), "neither safetensors nor .* bytes c8 c9"),
    "letters": (lambda p: p.write_bytes(b"e" * 101), "a text that starts with 'eeee"),
    "web page": (lambda p: p.write_text("<!DOCTYPE html>\n<title>Not found</title>"), "starts with '<!DOCTYPE html>'"),
    "LFS": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n"),
        "git lfs pull",
    ),
    "cut zip": (lambda p: cut(p, nn.Linear(9, 9).state_dict(), 0.5), "a zip archive without its end, so it was cut"),
    "other zip": (lambda p: archive(p, "a/notes.txt"), "a zip archive, but not one of torch.save"),
    "broken zip": (lambda p: archive(p, "a/data.pkl"), "an archive of torch.save whose contents are broken"),
    "cut pickle": (lambda p: p.write_bytes(pickle.dumps({"a": [1.0] * 50})[:-9]), "a pickle, but cut short"),
    "plain pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1}, protocol=4)), "not written by torch.save"),
}


@pytest.mark.parametrize(("write", "text"), DAMAGED.values(), ids=DAMAGED)
def test_a_file_that_is_no_weights_is_told_for_what_it_is(write, text, tmp_path):
    write(tmp_path / "a.pt")
    error = refused(tmp_path / "a.pt")
    assert isinstance(error, ModelError)
    assert "damaged or not a file of weights: it is " in str(error)
    assert re.search(text, str(error))
    assert "kdlens.save_weights" in str(error)


@pytest.mark.parametrize("keep", [0, 5, 60, -4])
def test_damaged_safetensors_are_told(keep, tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(nn.Linear(9, 9).state_dict(), path)
    path.write_bytes(path.read_bytes()[:keep])
    assert "damaged or not a safetensors file: " in str(refused(path))
    path.write_bytes(b"garbage" * 20)
    assert "damaged or not a safetensors file: " in str(refused(path))


def test_a_torchscript_program_is_named(tmp_path):
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.trace(nn.Linear(2, 1), torch.zeros(1, 2)), path)
    assert "it is a TorchScript program" in str(refused(path))


def test_folders_and_missing_files_are_told(tmp_path):
    (tmp_path / "folder.pt").mkdir()
    assert "is a folder" in str(refused(tmp_path / "folder.pt"))
    assert "there is no file" in str(refused(tmp_path / "missing.pt"))
