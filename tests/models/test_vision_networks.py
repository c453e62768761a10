"""Networks of torchvision and timm, with random weights: stages, maps and gradients without any special case."""

import pytest
import torch

from kdlens.errors import LayerShapeError, ModelError, UnknownNameError
from kdlens.models.layers import auto_layers
from kdlens.models.load import load_model
from kdlens.models.taps import Recorder, record
from kdlens.models.tokens import to_feature_map

pytest.importorskip("torchvision")
pytest.importorskip("timm")

RESNET = ("layer1", "layer2", "layer3", "layer4")
FOUR = tuple(range(4))
SMALL_SWIN = {"depths": (2, 2, 2, 2), "embed_dim": 24, "num_heads": (1, 2, 4, 8)}
STAGES = {
    "torchvision:resnet18": (64, {}, RESNET),
    "torchvision:resnet50": (64, {}, RESNET),
    "torchvision:vgg11_bn": (32, {}, ("features.6", "features.13", "features.20", "features.27")),
    "torchvision:mobilenet_v2": (64, {}, ("features.3", "features.6", "features.13", "features.17")),
    "torchvision:shufflenet_v2_x0_5": (64, {}, ("conv1", "stage2", "stage3", "stage4")),
    "torchvision:efficientnet_b0": (64, {}, ("features.2", "features.3", "features.5", "features.7")),
    "torchvision:convnext_tiny": (64, {}, ("features.1", "features.3", "features.5", "features.7")),
    "torchvision:densenet121": (64, {}, tuple(f"features.denseblock{i + 1}" for i in FOUR)),
    "torchvision:swin_t": (224, {}, ("features.1", "features.3", "features.5", "features.7")),
    "torchvision:vit_b_32": (224, {}, tuple(f"encoder.layers.encoder_layer_{i}" for i in (2, 5, 8, 11))),
    "timm:resnet18": (64, {}, RESNET),
    "timm:convnext_atto": (64, {}, tuple(f"stages.{i}" for i in FOUR)),
    "timm:efficientnet_b0": (64, {}, ("blocks.1", "blocks.2", "blocks.4", "blocks.6")),
    "timm:swin_tiny_patch4_window7_224": (224, SMALL_SWIN, tuple(f"layers.{i}" for i in FOUR)),
    "timm:deit_tiny_patch16_224": (224, {}, ("blocks.2", "blocks.5", "blocks.8", "blocks.11")),
    "timm:deit_tiny_distilled_patch16_224": (224, {}, ("blocks.2", "blocks.5", "blocks.8", "blocks.11")),
    "timm:vit_small_patch16_dinov3": (256, {"depth": 4}, tuple(f"blocks.{i}" for i in FOUR)),  # four registers
}


def build(arch, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = load_model(arch, classes=5, **options)
        for parameter in model.parameters():
            if parameter.ndim == 2 and not parameter.any():  # heads that start at zero would hide every gradient
                torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("arch", STAGES)
def test_stages_maps_and_gradients(arch):
    size, options, stages = STAGES[arch]
    model = build(arch, **options)
    images = torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size)
    assert auto_layers(model, images) == stages
    with Recorder(model, stages, gradients=True) as recorder:
        logits = model(images)
        assert logits.shape == (1, 5)
        gradients = torch.autograd.grad(logits[0, 2], [recorder[layer] for layer in stages])
    sizes = []
    for layer, gradient in zip(stages, gradients, strict=True):
        settings = {"batch": 1, "input_size": (size, size), "model": model, "layer": layer}
        maps, slopes = to_feature_map(recorder[layer], **settings), to_feature_map(gradient, **settings)
        assert maps.shape == slopes.shape
        assert gradient.abs().max() > 0  # in a transformer's last block perhaps at the class token alone
        sizes.append(maps.shape[2:])
    assert all(height == width for height, width in sizes)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) in (1, 4)
    info = getattr(model, "feature_info", None)
    if arch.startswith("timm") and info:  # timm's own account of its stages
        assert set(stages) <= {stage["module"] for stage in (info if isinstance(info, list) else info.info)}


def test_a_stem_is_no_stage_and_one_cell_no_map():
    assert auto_layers(build("torchvision:resnet18"), torch.zeros(1, 3, 32, 32)) == ("layer1", "layer2", "layer3")


def small_swin(**options):
    settings = {"depths": (2, 2), "embed_dim": 24, "num_heads": (2, 4)} | options
    return build("timm:swin_tiny_patch4_window7_224", **settings)


@pytest.mark.parametrize("block", [0, 1])  # without and with shift
@pytest.mark.parametrize("size", [224, 256])  # 256: 64 rows are padded to 70
def test_windows_of_swin_come_back_in_place(block, size):
    model = small_swin(img_size=size)
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    attention, norm = f"layers.0.blocks.{block}.attn", f"layers.0.blocks.{block}.norm2"
    before = "layers.0.blocks.0" if block else "patch_embed"
    _, found = record(model, images, [before, attention, norm])
    assert found[attention].shape[0] > 2

    def as_map(name):
        return to_feature_map(found[name], batch=2, input_size=(size, size), model=model, layer=name)

    # the block adds the attention to its input and normalises the sum
    together = (as_map(before) + as_map(attention)).permute(0, 2, 3, 1)
    expected = model.get_submodule(norm)(together).permute(0, 3, 1, 2)
    assert torch.allclose(as_map(norm), expected, atol=1e-5)


def test_windows_inside_swin_need_the_network():
    model = small_swin()
    _, found = record(model, torch.zeros(1, 3, 224, 224), ["layers.0.blocks.0.attn", "layers.0.blocks.0.attn.softmax"])
    with pytest.raises(LayerShapeError, match="has another number of images"):
        to_feature_map(found["layers.0.blocks.0.attn"], batch=1, input_size=(224, 224))
    with pytest.raises(LayerShapeError, match="has another number of images"):
        to_feature_map(
            found["layers.0.blocks.0.attn.softmax"],
            batch=1,
            input_size=(224, 224),
            model=model,
            layer="layers.0.blocks.0.attn.softmax",
        )


def test_as_many_channels_as_rows_in_swin():
    """Like the tiny Swin on 384 pixels, whose first stage gives (n, 96, 96, 96)."""
    model = small_swin(embed_dim=56, num_heads=(7, 7))
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    _, found = record(model, images, ["layers.0"])
    assert found["layers.0"].shape == (1, 56, 56, 56)
    maps = to_feature_map(found["layers.0"], batch=1, input_size=(224, 224), model=model, layer="layers.0")
    assert torch.equal(maps, found["layers.0"].permute(0, 3, 1, 2))


def test_vit_tokens_are_where_timm_says():
    model = build("timm:deit_tiny_distilled_patch16_224")
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    _, found = record(model, images, ["blocks.5"])
    maps = to_feature_map(found["blocks.5"], batch=2, input_size=(224, 224), model=model, layer="blocks.5")
    with torch.no_grad():
        theirs = model.forward_intermediates(images, indices=[5], norm=False, intermediates_only=True)[0]
    assert torch.allclose(maps, theirs, atol=1e-5)


@pytest.mark.parametrize(
    ("arch", "text"),
    [
        ("timm:resnet8", 'timm has no network "resnet8"; did you mean'),
        ("torchvision:resnet19", 'torchvision has no network "resnet19"; did you mean "resnet18"'),
        ("timm:qqqqqq", "timm lists its networks"),
    ],
)
def test_unknown_names(arch, text):
    with pytest.raises(UnknownNameError, match=text):
        load_model(arch)


def test_options():
    assert load_model("timm:resnet18", classes=3, in_channels=1).conv1.in_channels == 1
    with pytest.raises(ModelError, match=r"torchvision:resnet18 cannot be built with .*widths"):
        load_model("torchvision:resnet18", widths=3)
