"""The layout of images in memory is a matter of speed: networks that do not bear another one keep theirs."""

import pytest
import torch
from torch import Tensor, nn

import kdlens
from kdlens.questions.discarding.lens import lens


class Views(nn.Module):
    """Convolutions whose output is taken apart by `view`, which needs the usual layout."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.last(y.view(len(y), -1))


class Peeks(nn.Module):
    """Gives something else where the layout is another."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x if x.is_contiguous() else 2 * x)


@pytest.mark.parametrize(("arch", "layer"), [("resnet8", "layer3"), ("vgg8", "layer3"), ("vit_tiny_cifar", "blocks.0")])
def test_the_layout_changes_no_feature_and_no_gradient(arch: str, layer: str) -> None:
    torch.manual_seed(0)
    net = kdlens.load_model(f"zoo:{arch}", classes=3).double().eval()
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    found: list[Tensor] = []
    handle = net.get_submodule(layer).register_forward_hook(lambda _m, _i, output: found.append(output))
    plain = images.clone().requires_grad_()
    net(plain)
    handle.remove()
    (expected,) = torch.autograd.grad(found[0].relu().square().sum(), plain)
    with lens(net, layer, images, 4) as seen:
        inputs = images.clone().requires_grad_()
        feature = seen.feature(inputs)
        (gradient,) = torch.autograd.grad(feature.square().sum(), inputs)
    torch.testing.assert_close(feature, found[0].relu().flatten(1), atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(gradient, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("net", [Views(), Peeks()], ids=["view", "another answer"])
def test_networks_that_need_the_usual_layout_have_it(net: nn.Module) -> None:
    images = torch.rand(2, 3, 6, 6)
    with torch.no_grad():
        expected = net.eval()(images).flatten(1)
    with lens(net, "last", images, 3) as seen, torch.no_grad():
        torch.testing.assert_close(seen.feature(images), expected)


def test_convolutions_are_given_channels_last() -> None:
    given: list[bool] = []
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    net[0].register_forward_pre_hook(
        lambda _m, inputs: given.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    with lens(net, "1", torch.rand(2, 3, 6, 6), 3) as seen:
        given.clear()
        seen.feature(torch.rand(2, 3, 6, 6))
    assert given == [True]
