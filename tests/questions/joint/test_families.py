"""Joint and published maps on one footing for networks of many families: one conformance suite over a table."""

import warnings

import pytest
import torch

from kdlens.models.load import load_model
from kdlens.questions.unicam.unicam import unicam

pytest.importorskip("timm")

SWIN = {"depths": (2, 2, 2, 2), "embed_dim": 24, "num_heads": (1, 2, 4, 8)}
FAMILIES = {
    "timm:resnet18": (64, {}),
    "timm:efficientnet_b0": (64, {}),
    "timm:convnext_atto": (64, {}),
    "timm:deit_tiny_patch16_224": (96, {"depth": 2, "img_size": 96}),  # a class token
    "timm:deit_tiny_distilled_patch16_224": (96, {"depth": 2, "img_size": 96}),  # and a distillation token
    "timm:vit_small_patch16_dinov3": (128, {"depth": 2, "img_size": 128}),  # four registers
    "timm:swin_tiny_patch4_window7_224": (224, SWIN),  # windows, channels last
    "timm:mixer_s32_224": (96, {"img_size": 96}),
    "timm:regnety_002": (64, {}),
}


def build(arch, seed, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = load_model(arch, classes=4, **options)
        for parameter in model.parameters():
            if parameter.ndim == 2 and not parameter.any():  # heads that start at zero say nothing
                torch.nn.init.normal_(parameter, std=0.1)
    return model


@pytest.mark.parametrize("protocol", ["joint", "published"])
@pytest.mark.parametrize("arch", FAMILIES)
def test_every_family_gives_maps(arch, protocol):
    size, options = FAMILIES[arch]
    student, baseline = build(arch, 1, **options), build(arch, 2, **options)
    images = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3]) // 2
    with pytest.warns(UserWarning, match="on 4 images is mostly noise"):
        found = unicam(student, baseline, images, labels, protocol=protocol)
    assert found.maps.shape == found.raw.shape == (4, size, size)
    assert found.raw.isfinite().all()
    assert found.raw.abs().amax((1, 2)).min() > 0


@pytest.mark.parametrize("arch", ["timm:resnet18", "timm:deit_tiny_patch16_224", "timm:swin_tiny_patch4_window7_224"])
def test_what_changes_the_evidence_is_where_the_map_is(arch):
    """A chequered square on grey moves, and the joint map with it, whatever the family."""
    size, options = FAMILIES[arch]
    model = build(arch, 1, **options)
    images = torch.zeros(8, 3, size, size)
    side, rows = size // 4, torch.arange(size) // 4
    chequered = 2.0 - 4.0 * ((rows[:, None] + rows) % 2)
    corners = [(side * (i % 3) + side // 2, side * (i // 3) + side // 2) for i in range(8)]
    for image, (top, left) in zip(images, corners, strict=True):
        image[:, top : top + side, left : left + side] = chequered[:side, :side]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # eight like images have like features
        found = unicam(model, None, images, torch.arange(8) % 2)
    hits, margin = 0, side // 2
    for map_, (top, left) in zip(found.raw.abs(), corners, strict=True):
        row, column = divmod(int(map_.argmax()), size)
        hits += -margin <= row - top < side + margin and -margin <= column - left < side + margin
    assert hits >= 7
