import builtins
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kdlens.data.cifar import CIFAR10_CLASSES
from kdlens.data.embeddings import label_embeddings, plain_name
from kdlens.data.fashion import FASHION_CLASSES
from kdlens.data.voc import VOC_CLASSES
from kdlens.errors import DataError

ROWS = torch.arange(6.0).reshape(3, 2)
NAMES = ["cat", "big dog", "T-shirt/top"]


def test_one_hot():
    assert torch.equal(label_embeddings(["a", "b", "c"]), torch.eye(3))


def test_minilm_knows_what_is_alike():
    vectors = dict(zip(FASHION_CLASSES, label_embeddings(FASHION_CLASSES, "minilm"), strict=True))
    assert vectors["T-shirt/top"] @ vectors["Shirt"] == pytest.approx(0.84, abs=0.01)
    assert vectors["Sneaker"] @ vectors["Ankle boot"] == pytest.approx(0.61, abs=0.01)
    assert vectors["Bag"] @ vectors["Shirt"] < 0.75


@pytest.mark.parametrize(
    "classes",
    [
        FASHION_CLASSES, CIFAR10_CLASSES, VOC_CLASSES, ["Cat", "Dog"], ["aquarium_fish", "willow_tree"],
        ["large_man-made_outdoor_things", "vehicles_1"], ["Abyssinian", "american_pit_bull_terrier", "pug"],
        ["Tomato___Spider_mites Two-spotted_spider_mite", "Corn_(maize)___Common_rust_", "Pepper,_bell___healthy"],
        ["001.Black_footed_Albatross", "Common Yellowthroat", "Chuck_will_Widow"],
    ],
)  # fmt: skip
def test_the_table_holds_the_named_datasets(classes):
    vectors = label_embeddings(classes, "minilm")
    assert vectors.shape == (len(classes), 384)
    assert vectors.dtype == torch.float32
    assert torch.allclose(vectors.norm(dim=1), torch.ones(len(classes)))
    assert (vectors @ vectors.T - torch.eye(len(classes))).max() < 0.95


def test_order_follows_the_classes():
    a, b = label_embeddings(["cat", "dog"], "minilm"), label_embeddings(["dog", "cat"], "minilm")
    assert torch.equal(a, b.flip(0))


def test_unknown_names_are_named_with_a_way_out():
    with pytest.raises(
        DataError, match=r'no embedding of "snekaer", "x1"; did you mean "sneaker" or .*\? use source="one-hot"'
    ):
        label_embeddings(["Bag", "snekaer", "x1"], "minilm")
    with pytest.raises(DataError, match=r'"c0", "c1", "c2", "c3", "c4", \.\.\.'):
        label_embeddings([f"c{i}" for i in range(9)], "minilm")
    with pytest.raises(
        DataError, match=r'unknown label embedding "minlm"; did you mean "minilm"\? Known: one-hot, minilm'
    ):
        label_embeddings(["cat"], "minlm")
    with pytest.raises(DataError, match="there are no class names"):
        label_embeddings([])


def write_csv(path, names=None, header=False):
    lines = ["name,a,b"] if header else []
    lines += [",".join([*([names[i]] if names else []), *(str(v) for v in ROWS[i].tolist())]) for i in range(3)]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("kind", ["npy", "csv", "safetensors"])
def test_files_without_names_go_by_order(tmp_path, kind):
    path = tmp_path / f"e.{kind}"
    {
        "npy": lambda: np.save(path, ROWS.double().numpy()),
        "csv": lambda: write_csv(path),
        "safetensors": lambda: save_file({"x": ROWS.half()}, path),
    }[kind]()
    assert torch.equal(label_embeddings(NAMES, path), ROWS)
    assert torch.equal(label_embeddings(NAMES, str(path)), ROWS)
    with pytest.raises(DataError, match="holds 3 embeddings without names, but there are 2 classes"):
        label_embeddings(NAMES[:2], path)


@pytest.mark.parametrize("kind", ["csv", "csv with header", "safetensors"])
def test_files_with_names_go_by_name(tmp_path, kind):
    path = tmp_path / f"e.{kind.split()[0]}"
    if kind == "safetensors":
        save_file({"x": ROWS}, path, {"names": '["cat", "big dog", "T-shirt/top"]'})
    else:
        write_csv(path, NAMES, header="header" in kind)
    assert torch.equal(label_embeddings(["t_shirt top", "big_dog"], path), ROWS[[2, 1]])
    with pytest.raises(DataError, match='has no embedding of "bigdog"; did you mean "big dog"'):
        label_embeddings(["bigdog"], path)


class Bomb:
    def __reduce__(self):
        return print, ("boom",)


def test_a_pickle_in_disguise_is_not_run(tmp_path, capsys):
    path = tmp_path / "e.npy"
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="does not hold embeddings: Object arrays cannot be loaded"):
        label_embeddings(["a"], path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="does not hold embeddings"):
        label_embeddings(["a"], path)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("e.npy", np.zeros(3), r"a tensor of shape \(3,\); expected \(classes, e\)"),
        ("e.npy", np.zeros((3, 0)), r"shape \(3, 0\)"),
        ("e.npy", np.array([["a"]]), "does not hold an array of numbers"),
        ("e.npy", np.array([[1.0], [np.inf], [0.0]]), "holds NaN or infinite"),
        ("e.npy", b"", "does not hold embeddings"),
        ("e.csv", b"cat,1,2\ndog,3\n", "all of the same length"),
        ("e.csv", b"", "must hold one row a class"),
        ("e.csv", b"\xff\xfe\x00", "does not hold embeddings"),
        ("e.csv", b"cat,1,2\ndog,3,x\nfox,1,1\n", "does not hold embeddings: could not convert"),
        ("e.safetensors", b"hello", "is not a safetensors file"),
        ("e.csv", None, "cannot read .*e.csv: No such file"),
    ],
)
def test_damaged_files(tmp_path, name, content, text):
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=text):
        label_embeddings(NAMES, path)


def test_safetensors_must_hold_one_tensor_and_fitting_names(tmp_path):
    path = tmp_path / "e.safetensors"
    save_file({"x": ROWS, "y": ROWS.clone()}, path)
    with pytest.raises(DataError, match="holds 2 tensors; expected one"):
        label_embeddings(NAMES, path)
    save_file({"x": ROWS}, path, {"names": '["cat"]'})
    with pytest.raises(DataError, match="holds 1 names but 3 embeddings"):
        label_embeddings(NAMES, path)
    save_file({"x": ROWS}, path, {"names": '{"cat": 1}'})
    with pytest.raises(DataError, match="names that are not a list"):
        label_embeddings(NAMES, path)


def test_clip_says_what_it_needs(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "open_clip":
            raise ModuleNotFoundError("No module named 'open_clip'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DataError, match=r"need open_clip: pip install kdlens\[text\]"):
        label_embeddings(["cat"], "clip")


def test_clip_without_weights_and_with(monkeypatch):
    fake = types.ModuleType("open_clip")

    def offline(kind, pretrained):
        raise RuntimeError("no connection")

    fake.create_model = offline
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    with pytest.raises(DataError, match=r"weights ViT-B-32/.* could not be had \(no connection\)"):
        label_embeddings(["cat"], "clip")

    class Text(torch.nn.Module):
        def encode_text(self, tokens):
            return tokens

    fake.create_model = lambda kind, pretrained: Text()
    fake.get_tokenizer = lambda kind: lambda texts: torch.tensor([[float(len(t)), 1.0] for t in texts])
    vectors = label_embeddings(["cat", "big_dog"], "clip")
    assert torch.allclose(vectors[0], torch.tensor([16.0, 1.0]) / 257**0.5)  # "a photo of a cat"
    assert vectors.shape == (2, 2)


def test_plain_names():
    assert plain_name("Corn_(maize)___Common_rust_") == "corn maize common rust"
    assert plain_name("large_man-made_outdoor_things") == plain_name("Large man made outdoor things")
