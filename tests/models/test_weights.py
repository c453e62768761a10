"""Weights go into a file and come back; what does not fit is named; nothing in a file is run."""

import json
import os
import pickle
import subprocess
import sys
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from kdlens.errors import ModelError, UnsafeFileError
from kdlens.models.load import load_model
from kdlens.models.weights import (
    LoadReport,
    load_weights,
    read_metadata,
    read_weights,
    save_weights,
    weights_fingerprint,
)
from kdlens.models.zoo import ZOO


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return ZOO["cnn8"](num_classes=4)


def fresh(classes=4):
    return ZOO["cnn8"](num_classes=classes)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_round_trip(network, tmp_path):
    path = tmp_path / "net.safetensors"
    metadata = {"epochs": 30, "classes": ["a<b>", "été"], "nested": {"lr": 0.1}}
    save_weights(network, path, metadata)
    other = fresh()
    assert not same(network, other)
    assert load_weights(other, path) == LoadReport()
    assert same(network, other)
    assert weights_fingerprint(network) == weights_fingerprint(other)
    assert read_metadata(path) == metadata
    assert os.listdir(tmp_path) == ["net.safetensors"]
    assert load_model("cnn8", weights=path, classes=4).fc.out_features == 4


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ""])
@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_of_old_and_new_format(network, tmp_path, suffix, legacy):
    path = tmp_path / f"net{suffix}"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    other = fresh()
    load_weights(other, path)
    assert same(network, other)


def test_a_safetensors_file_by_another_name(network, tmp_path):
    save_file(network.state_dict(), tmp_path / "model.bin")
    assert set(read_weights(tmp_path / "model.bin")) == set(network.state_dict())
    assert read_metadata(tmp_path / "model.bin") == {}


CONTAINERS = {
    "state_dict": lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"state": {0: {"exp_avg": torch.ones(1)}}}},
    "model": lambda s: {"model": s, "accuracy": 0.9},
    "model_state": lambda s: {"model_state": s},
    "net": lambda s: {"net": s, "acc": 91.0, "epoch": 7},
    "nested": lambda s: {"checkpoint": {"model": {"state_dict": s}}},
    "ema beside": lambda s: {"ema": {name: value * 0 for name, value in s.items()}, "model": s},
    "only ema": lambda s: {"ema": s, "epoch": 3},
    "another name": lambda s: {"student_net": s, "args": {"lr": 0.1}},
    "counters among tensors": lambda s: {**s, "epoch": 3},
    "ordered": lambda s: OrderedDict(state_dict=OrderedDict(s)),
}


@pytest.mark.parametrize("wrap", CONTAINERS.values(), ids=CONTAINERS)
def test_state_dicts_are_found_in_containers(network, tmp_path, wrap):
    torch.save(wrap(network.state_dict()), tmp_path / "a.pt")
    other = fresh()
    load_weights(other, tmp_path / "a.pt")
    assert same(network, other)


def test_several_sets_of_weights_must_be_chosen_from(network, tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"teacher": network.state_dict(), "student": {"fc.bias": torch.ones(4)}, "epoch": 3}, path)
    with pytest.raises(ModelError, match='several sets of weights \\("teacher", "student"\\); choose one with `key`'):
        read_weights(path)
    assert list(read_weights(path, key="student")) == ["fc.bias"]
    with pytest.raises(ModelError, match='has no entry "baseline"; it holds "teacher", "student", "epoch"'):
        read_weights(path, key="baseline")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], {}, {"state_dict": {}}, torch.ones(3)], ids=repr)
def test_a_file_without_weights(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"a\.pt holds no state dict"):
        read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod.", "model.module.", "net."])
def test_prefixes_of_wrappers_are_taken_off(network, tmp_path, prefix):
    torch.save({prefix + name: value for name, value in network.state_dict().items()}, tmp_path / "a.pt")
    other = fresh()
    assert load_weights(other, tmp_path / "a.pt") == LoadReport(renamed_prefix=prefix)
    assert same(network, other)


def test_a_prefix_the_network_has_itself_is_kept(network, tmp_path):
    inside = nn.ModuleDict({"model": network})
    save_weights(inside, tmp_path / "a.safetensors")
    other = nn.ModuleDict({"model": fresh()})
    assert load_weights(other, tmp_path / "a.safetensors") == LoadReport()
    assert same(inside, other)
    alone = fresh()
    assert load_weights(alone, tmp_path / "a.safetensors").renamed_prefix == "model."
    assert same(network, alone)


def test_wrapped_networks_save_and_load_bare_keys(network, tmp_path):
    save_weights(nn.DataParallel(network), tmp_path / "a.safetensors")
    assert set(read_weights(tmp_path / "a.safetensors")) == set(network.state_dict())
    other = nn.DataParallel(fresh())
    load_weights(other, tmp_path / "a.safetensors")
    assert same(network, other.module)


def test_every_problem_is_in_one_error_and_nothing_is_changed(network, tmp_path):
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    del state["module.fc.bias"], state["module.layer1.1.running_var"]
    state["module.extra.weight"] = torch.ones(1)
    state["criterion.scale"] = torch.ones(1)
    state["module.layer1.0.weight"] = torch.ones(8, 1, 3, 3)
    torch.save(state, tmp_path / "a.pt")
    other = fresh()
    before = weights_fingerprint(other)
    with pytest.raises(ModelError) as caught:
        load_weights(other, tmp_path / "a.pt")
    text = str(caught.value)
    assert "a.pt does not fit SmallCNN" in text
    assert "2 missing in the file: layer1.1.running_var, fc.bias" in text
    assert "2 not in the network: module.extra.weight, criterion.scale" in text
    assert "1 of another shape: layer1.0.weight: (8, 1, 3, 3) in the file, (8, 3, 3, 3) in the network" in text
    assert weights_fingerprint(other) == before

    report = load_weights(other, tmp_path / "a.pt", strict=False)
    assert report.missing == ("layer1.1.running_var", "fc.bias")
    assert report.unexpected == ("module.extra.weight", "criterion.scale")
    assert report.mismatched == ("layer1.0.weight: (8, 1, 3, 3) in the file, (8, 3, 3, 3) in the network",)
    assert report.renamed_prefix == "module."
    assert torch.equal(other.fc.weight, network.fc.weight)


def test_another_number_of_classes_is_said_plainly(network, tmp_path):
    save_weights(network, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r'has 4 classes and the network 10 \(layer "fc"\); build .* classes=4'):
        load_weights(fresh(10), tmp_path / "a.safetensors")


def test_another_architecture_is_said_plainly(network, tmp_path):
    save_weights(nn.Sequential(nn.Linear(2, 2)), tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"none of the file's 2 keys \(0.bias, 0.weight\) .* another architecture"):
        load_weights(network, tmp_path / "a.safetensors")


def test_batch_norm_counters_may_be_missing(network, tmp_path):
    state = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "a.safetensors")
    assert load_weights(fresh(), tmp_path / "a.safetensors") == LoadReport()


def test_half_precision_files_fill_single_precision_networks(network, tmp_path):
    save_weights(network.half(), tmp_path / "a.safetensors")
    other = fresh()
    load_weights(other, tmp_path / "a.safetensors")
    assert other.fc.weight.dtype == torch.float32
    assert torch.equal(other.fc.weight.half(), network.fc.weight)


def test_tied_weights_are_written_once_and_tied_again(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(50, 20)
            self.head = nn.Linear(20, 50, bias=False)
            self.head.weight = self.embed.weight
            self.register_buffer("part", self.embed.weight.detach()[:5])

    network, path = Tied(), tmp_path / "a.safetensors"
    save_weights(network, path)
    assert path.stat().st_size < 6000
    read = read_weights(path)
    assert set(read) == {"embed.weight", "head.weight", "part"}
    assert torch.equal(read["head.weight"], network.embed.weight)
    assert torch.equal(read["part"], network.embed.weight[:5])
    other = Tied()
    assert load_weights(other, path) == LoadReport()
    assert other.head.weight is other.embed.weight
    assert torch.equal(other.embed.weight, network.embed.weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool])
def test_types_and_empty_and_transposed_tensors(dtype, tmp_path):
    network = nn.Module()
    network.register_buffer("a", torch.arange(6).reshape(2, 3).to(dtype).T)
    network.register_buffer("b", torch.zeros(0, 3, dtype=dtype))
    network.register_buffer("c", torch.ones((), dtype=dtype))
    save_weights(network, tmp_path / "a.safetensors")
    read = read_weights(tmp_path / "a.safetensors")
    assert all(torch.equal(read[name], value) for name, value in network.state_dict().items())
    assert len(weights_fingerprint(network)) == 64


def test_the_fingerprint_sees_names_types_shapes_and_bytes():
    def of(**tensors):
        network = nn.Module()
        for name, value in tensors.items():
            network.register_buffer(name, value)
        return weights_fingerprint(network)

    a = torch.arange(6.0)
    different = [of(a=a), of(b=a), of(a=a.double()), of(a=a.reshape(2, 3)), of(a=a + 1e-7), of(a=a, b=a), of(a=-a)]
    assert len(set(different)) == len(different)
    assert of(a=a, b=-a) == of(b=-a, a=a)
    assert of(a=a.reshape(2, 3).T) == of(a=a.reshape(2, 3).T.contiguous())


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("write", ["torch", "legacy", "pickle"])
@pytest.mark.parametrize("place", ["alone", "among weights"])
def test_code_in_a_file_is_named_and_not_run(network, tmp_path, write, place):
    mark, path = tmp_path / "ran", tmp_path / "evil.pt"
    content = Payload(mark) if place == "alone" else {"state_dict": network.state_dict(), "note": Payload(mark)}
    if write == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == "torch")
    other = fresh()
    before = weights_fingerprint(other)
    with pytest.raises(UnsafeFileError) as caught:
        load_weights(other, path)
    assert not mark.exists()
    assert str(path) in str(caught.value)
    assert "os.system" in str(caught.value)
    assert "save_weights" in str(caught.value)
    assert weights_fingerprint(other) == before


def test_whole_networks_in_a_file_are_refused_by_name(network, tmp_path):
    torch.save(network, tmp_path / "a.pt")
    with pytest.raises(UnsafeFileError, match=r"kdlens\.models\.zoo\.cnn\.SmallCNN"):
        read_weights(tmp_path / "a.pt")


def test_numpy_scalars_beside_weights_are_named(network, tmp_path):
    torch.save({"state_dict": network.state_dict(), "accuracy": np.float64(0.9)}, tmp_path / "a.pt")
    with pytest.raises(UnsafeFileError, match="numpy"):
        read_weights(tmp_path / "a.pt")


@pytest.mark.parametrize("kind", ["safetensors", "pt", "legacy"])
def test_truncated_files(network, tmp_path, kind):
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.pt")
    if kind == "safetensors":
        save_weights(network, path)
    else:
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=kind == "pt")
    whole = path.read_bytes()
    for length in (0, 1, 7, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="damaged") as caught:
            read_weights(path)
        assert str(path) in str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".pt", ".safetensors", ".bin"]))
def test_any_bytes_give_weights_or_a_clear_error(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises((ModelError, UnsafeFileError), match=r"a\."):
        read_weights(path)


def test_missing_files_and_folders(network, tmp_path):
    save_weights(network, tmp_path / "teacher.safetensors")
    with pytest.raises(ModelError, match=r'there is no file .*teachr.safetensors; did you mean "teacher.safetensors"'):
        read_weights(tmp_path / "teachr.safetensors")
    with pytest.raises(ModelError, match=r"there is no file .* \(nor a folder"):
        read_weights(tmp_path / "nowhere" / "a.pt")
    with pytest.raises(ModelError, match="is a folder; give the file"):
        read_weights(tmp_path)
    with pytest.raises(ModelError, match="there is no folder"):
        save_weights(network, tmp_path / "nowhere" / "a.safetensors")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_keeps_what_was_there(network, tmp_path, monkeypatch, error):
    path = tmp_path / "a.safetensors"
    save_weights(network, path)
    before = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ModelError if isinstance(error, OSError) else KeyboardInterrupt):
        save_weights(fresh(), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_files_are_readable_by_the_group_as_others_are(network, tmp_path):
    save_weights(network, tmp_path / "a.safetensors")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("header", ["free text", "[1]", '{"tied": 3, "metadata": null}'])
def test_a_header_of_another_program_is_no_matter(tmp_path, header):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", {"kdlens": header})
    assert list(read_weights(tmp_path / "a.safetensors")) == ["a"]
    assert read_metadata(tmp_path / "a.safetensors") == {}


def test_a_tie_to_what_is_not_there_is_named(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors", {"kdlens": '{"tied": {"b": "c"}}'})
    with pytest.raises(ModelError, match='"b" is tied to "c", which is not in it'):
        read_weights(tmp_path / "a.safetensors")


def test_the_header_is_json_for_everyone(network, tmp_path):
    save_weights(network, tmp_path / "a.safetensors", {"epochs": 3})
    content = (tmp_path / "a.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["kdlens"])["metadata"] == {"epochs": 3}


def test_a_kill_while_writing_leaves_the_old_file(network, tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights(network, path)
    before = path.read_bytes()
    code = f"""
import os
from kdlens.models import weights
from kdlens.models.zoo import ZOO
os.replace = lambda *_: os.kill(os.getpid(), 9)
weights.save_weights(ZOO["cnn8"](), {str(path)!r})
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert path.read_bytes() == before
    load_weights(fresh(), path)
