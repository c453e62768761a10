"""Every form is built from a known map by the textbook steps, and must give that map back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kdlens.errors import LayerShapeError
from kdlens.models.taps import record
from kdlens.models.tokens import to_feature_map
from kdlens.models.windows import Windows, from_windows
from kdlens.models.zoo import ZOO


def known_map(n=3, c=5, h=14, w=14):
    return torch.arange(n * c * h * w, dtype=torch.float32).reshape(n, c, h, w)


def as_tokens(x, prefix=0):
    tokens = torch.stack([x[:, :, i, j] for i in range(x.shape[2]) for j in range(x.shape[3])], dim=1)
    return torch.cat([torch.full((len(x), prefix, x.shape[1]), -1.0), tokens], dim=1)


def as_windows(x, size, shift=(0, 0)):
    """Roll, pad, cut: one window after another, in reading order."""
    n, c, h, w = x.shape
    x = torch.stack([x[:, :, (i + shift[0]) % h] for i in range(h)], 2)
    x = torch.stack([x[:, :, :, (j + shift[1]) % w] for j in range(w)], 3)
    rows, columns = -(-h // size[0]), -(-w // size[1])
    padded = torch.zeros(n, c, rows * size[0], columns * size[1])
    padded[:, :, :h, :w] = x
    cut = [
        padded[k, :, i * size[0] : (i + 1) * size[0], j * size[1] : (j + 1) * size[1]].flatten(1).T
        for k in range(n)
        for i in range(rows)
        for j in range(columns)
    ]
    return torch.stack(cut)


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
def test_tokens_in_reading_order_behind_their_prefix(prefix):
    x = known_map()
    found = to_feature_map(as_tokens(x, prefix), batch=3, input_size=(224, 224))
    assert torch.equal(found, x)


@given(st.integers(3, 9), st.integers(3, 9), st.integers(0, 1))
def test_images_that_are_not_square(rows, columns, prefix):
    x = known_map(n=1, c=3, h=rows, w=columns)
    found = to_feature_map(as_tokens(x, prefix), batch=1, input_size=(rows * 16, columns * 16))
    assert torch.equal(found, x)


def test_tokens_with_the_batch_second():
    x = known_map()
    assert torch.equal(to_feature_map(as_tokens(x, 1).transpose(0, 1), batch=3, input_size=(224, 224)), x)


def test_as_many_tokens_as_images():
    x = known_map(n=50, c=2, h=7, w=7)
    tokens = as_tokens(x, 1)
    with pytest.raises(LayerShapeError, match="as many tokens as images"):
        to_feature_map(tokens, batch=50, input_size=(224, 224))
    for batch_first in (True, False):
        network = nn.Sequential(nn.MultiheadAttention(2, 1, batch_first=batch_first))
        given_out = tokens if batch_first else tokens.transpose(0, 1)
        found = to_feature_map(given_out, batch=50, input_size=(224, 224), model=network, layer="0")
        assert torch.equal(found, x)
    found = to_feature_map(tokens, batch=50, input_size=(224, 224), model=nn.Linear(2, 2))
    assert torch.equal(found, x)


def test_maps_pass_and_channels_last_maps_are_turned():
    x = known_map()
    assert to_feature_map(x, batch=3, input_size=(224, 224)) is x
    assert torch.equal(to_feature_map(x.permute(0, 2, 3, 1), batch=3, input_size=(224, 224)), x)
    wide = known_map(h=7, w=10)
    assert torch.equal(to_feature_map(wide.permute(0, 2, 3, 1), batch=3, input_size=(224, 320)), wide)


@pytest.mark.parametrize(
    ("layer", "last"),
    [(nn.Linear(8, 8), True), (nn.Sequential(nn.LayerNorm(8)), True), (nn.Conv2d(8, 8, 1), False), (nn.ReLU(), False)],
)
def test_as_many_channels_as_rows_is_settled_by_the_layer(layer, last):
    x = known_map(n=2, c=8, h=8, w=8)
    found = to_feature_map(x, batch=2, input_size=(32, 32), model=nn.Sequential(layer), layer="0")
    assert torch.equal(found, x.permute(0, 3, 1, 2) if last else x)


@pytest.mark.parametrize("shift", [(0, 0), (3, 3), (2, 1)])
@pytest.mark.parametrize("size", [(14, 14), (12, 13), (16, 15)])
def test_windows_are_put_together(shift, size):
    x = known_map(n=2, h=size[0], w=size[1])
    cut = as_windows(x, (7, 7), shift)
    rows, columns = -(-size[0] // 7), -(-size[1] // 7)
    found = from_windows(cut, 2, Windows(rows, columns, (7, 7), shift, size))
    assert torch.equal(found, x)


class Windowed(nn.Module):
    """A block that says how its windows are cut, as Swin's blocks do."""

    def __init__(self, window_size, shift_size, **more):
        super().__init__()
        self.attn = nn.Sequential(nn.Linear(5, 5))
        self.window_size = window_size
        if shift_size is not None:
            self.shift_size = shift_size
        for name, value in more.items():
            setattr(self, name, value)


@pytest.mark.parametrize(("shift_size", "shift"), [((3, 3), (3, 3)), (3, (3, 3)), (None, (0, 0)), (0, (0, 0))])
@pytest.mark.parametrize("window_size", [7, (7, 7)])
def test_the_block_around_the_layer_says_how_windows_are_cut(window_size, shift_size, shift):
    x = known_map(n=2, h=28, w=28)
    network = nn.Sequential(nn.Sequential(Windowed(window_size, shift_size)))
    found = to_feature_map(
        as_windows(x, (7, 7), shift), batch=2, input_size=(224, 224), model=network, layer="0.0.attn.0"
    )
    assert torch.equal(found, x)


def test_padded_windows_lose_their_padding():
    x = known_map(n=2, h=10, w=20)
    network = nn.Sequential(Windowed((7, 7), (3, 3)))
    cut = as_windows(x, (7, 7), (3, 3))
    assert torch.equal(to_feature_map(cut, batch=2, input_size=(160, 320), model=network, layer="0.attn"), x)


def test_where_the_stride_is_in_doubt_the_block_may_know():
    x = known_map(n=1, h=10, w=10)
    cut = as_windows(x, (6, 6), (3, 3))
    settings = {"batch": 1, "input_size": (110, 110), "layer": "0.attn"}  # 10 and 11 are both cut in four
    with pytest.raises(LayerShapeError, match="no block around the layer says how windows are cut"):
        to_feature_map(cut, model=nn.Sequential(Windowed(6, 3)), **settings)
    network = nn.Sequential(Windowed(6, 3, input_resolution=(10, 10)))
    assert torch.equal(to_feature_map(cut, model=network, **settings), x)


def test_windows_without_a_block_are_refused():
    cut = as_windows(known_map(n=2, h=28, w=28), (7, 7))
    for model, layer in ((None, ""), (nn.Sequential(nn.Linear(5, 5)), "0"), (nn.Sequential(Windowed(8, 4)), "0.attn")):
        with pytest.raises(LayerShapeError, match=r"reshape=\(h, w\)"):
            to_feature_map(cut, batch=2, input_size=(224, 224), model=model, layer=layer)


REFUSED = {
    "a vector": ((4, 10), "has no rows and columns"),
    "one cell": ((4, 512, 1, 1), "single cell"),
    "tokens that fit no grid": ((4, 77, 8), "77 tokens that make no grid"),
    "attention": ((4, 3, 197, 197), "attention from tokens to tokens"),
    "rows and columns out of proportion": ((4, 8, 7, 9), r"neither as \(n, C, h, w\) nor as \(n, h, w, C\)"),
    "another number of images": ((6, 8, 7, 7), "another number of images"),
    "five axes": ((4, 2, 2, 7, 7), "has no rows and columns"),
}


@pytest.mark.parametrize(("shape", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_map_is_refused_with_advice(shape, reason):
    with pytest.raises(LayerShapeError, match=reason) as caught:
        to_feature_map(torch.zeros(shape), batch=4, input_size=(224, 224), layer="layer9")
    text = str(caught.value)
    assert 'layer "layer9"' in text
    assert str(shape) in text
    assert "reshape=" in text or "kdlens layers" in text


@pytest.mark.parametrize(
    ("tokens", "size"), [(197, 224), (198, 224), (50, 224), (201, 224), (65, 32), (17, 32), (101, 40)]
)
def test_attention_between_tokens_is_not_taken_for_a_map(tokens, size):
    with pytest.raises(LayerShapeError, match=r"attention from tokens to tokens|neither as"):
        to_feature_map(torch.zeros(2, 3, tokens, tokens), batch=2, input_size=(size, size))


@pytest.mark.parametrize("size", [16, 28, 32, 33, 37, 64, 224])
def test_no_map_of_a_padded_network_is_taken_for_attention(size):
    side = size
    while side > 1:
        x = torch.zeros(2, 3, side, side)
        assert to_feature_map(x, batch=2, input_size=(size, size)) is x
        side = -(-side // 2)


def test_the_grid_is_ambiguous():
    with pytest.raises(LayerShapeError, match=r"more than one grid of the image \(.* or .*\)"):
        to_feature_map(torch.zeros(2, 6, 4), batch=2, input_size=(16, 20))


def test_the_network_says_how_many_extra_tokens_it_has():
    network = nn.Sequential(nn.Linear(5, 5))
    network.num_prefix_tokens = 20
    x = known_map()
    tokens = as_tokens(x, 20)
    with pytest.raises(LayerShapeError, match="no grid"):
        to_feature_map(tokens, batch=3, input_size=(224, 224))
    assert torch.equal(to_feature_map(tokens, batch=3, input_size=(224, 224), model=network, layer="0"), x)


def test_saying_it_oneself():
    x = known_map(h=4, w=9)
    tokens = as_tokens(x, 3)
    assert torch.equal(to_feature_map(tokens, batch=3, input_size=(224, 224), reshape=(4, 9)), x)

    def last_axis_first(activation):
        return activation[:, 3:].reshape(3, 4, 9, 5).permute(0, 3, 1, 2)

    assert torch.equal(to_feature_map(tokens, batch=3, input_size=(224, 224), reshape=last_axis_first), x)
    with pytest.raises(LayerShapeError, match="cannot be 40 x 9 tokens"):
        to_feature_map(tokens, batch=3, input_size=(224, 224), reshape=(40, 9))
    with pytest.raises(LayerShapeError, match=r"became \(3, 39, 5\)"):
        to_feature_map(tokens, batch=3, input_size=(224, 224), reshape=lambda a: a)


@pytest.mark.parametrize("size", [(32, 32), (16, 24), (37, 37)])
def test_a_spot_in_the_image_is_a_spot_in_the_map_of_a_transformer(size):
    network = ZOO["vit_tiny_cifar"](num_classes=3, depth=1).eval()
    images = torch.zeros(2, 3, *size)
    images[1, :, 8:12, 4:8] = 1.0
    _, found = record(network, images, ["blocks.0.norm1"])
    maps = to_feature_map(found["blocks.0.norm1"], batch=2, input_size=size, model=network, layer="blocks.0.norm1")
    changed = (maps[1] - maps[0]).abs().sum(0)
    assert maps.shape[2:] == (size[0] // 4, size[1] // 4)
    assert changed.argmax().item() == 2 * maps.shape[3] + 1
    assert (changed > 1e-6).sum() == 1


def test_gradients_pass():
    tokens = torch.zeros(1, 17, 3, requires_grad=True)
    to_feature_map(tokens, batch=1, input_size=(32, 32)).sum().backward()
    assert tokens.grad[0, :, 0].tolist() == [0.0] + [1.0] * 16
