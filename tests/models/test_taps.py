"""Activations and gradients against plain autograd, written out by hand."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from kdlens.errors import LayerNotFoundError, LayerShapeError
from kdlens.models.taps import Recorder, Tap, record, unwrap
from kdlens.models.zoo import ZOO

IMAGES = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


@pytest.fixture
def resnet():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ZOO["resnet8"](num_classes=5).double()


def rest_of_resnet(network, after):
    """The layers behind `after`, written out."""

    def run(x):
        for name in ("layer1", "layer2", "layer3")[("layer1", "layer2", "layer3").index(after) + 1 :]:
            x = getattr(network, name)(x)
        return network.fc(x.mean((2, 3)))

    return run


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3"])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("outer", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_gradients_agree_with_plain_autograd(resnet, layer, frozen, outer):
    plain = copy.deepcopy(resnet).eval()
    resnet.requires_grad_(not frozen)
    with outer(), Recorder(resnet, [layer], gradients=True) as recorder:
        logits = resnet(IMAGES.double())
        found = torch.autograd.grad(logits[:, 3].sum(), recorder[layer])[0]
    features = recorder[layer].detach().clone().requires_grad_()
    again = rest_of_resnet(plain, layer)(features)
    assert torch.allclose(again, logits, atol=1e-12)
    expected = torch.autograd.grad(again[:, 3].sum(), features)[0]
    assert expected.abs().max() > 1e-4
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
    assert all(parameter.grad is None for parameter in resnet.parameters())


def test_gradients_agree_with_finite_differences(resnet):
    with Recorder(resnet, ["layer3"], gradients=True) as recorder:
        score = resnet(IMAGES.double())[0, 1]
    gradient = torch.autograd.grad(score, recorder["layer3"])[0]
    plain = copy.deepcopy(resnet).eval()
    step = torch.zeros_like(gradient)
    step[0, 7, 2, 1] = 1e-6
    rest = rest_of_resnet(plain, "layer3")
    with torch.no_grad():
        slope = (rest(recorder["layer3"] + step)[0, 1] - rest(recorder["layer3"] - step)[0, 1]) / 2e-6
    assert gradient[0, 7, 2, 1].item() == pytest.approx(slope.item(), rel=1e-6)


def test_one_pass_serves_all_layers_and_one_backward_all_gradients(resnet):
    passes = []
    resnet.register_forward_pre_hook(lambda *_: passes.append(1))
    layers = ["layer1", "layer1.0", "layer2.0.conv1", "layer2.0.downsample", "layer3", "fc"]
    with Recorder(resnet, layers, gradients=True) as recorder:
        score = resnet(IMAGES.double())[:, 2].sum()
    together = torch.autograd.grad(score, [recorder[layer] for layer in layers])
    assert len(passes) == 1
    assert torch.equal(recorder["layer1"], recorder["layer1.0"])
    assert torch.equal(together[0], together[1])
    for layer, gradient in zip(layers, together, strict=True):
        with Recorder(resnet, [layer], gradients=True) as alone:
            score = resnet(IMAGES.double())[:, 2].sum()
        assert torch.allclose(gradient, torch.autograd.grad(score, alone[layer])[0], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("gradients", [False, True])
def test_recording_changes_no_output(build, gradients):
    for name in build.names:
        if name == "noisy":
            continue
        network = build(name)
        bare = unwrap(network)
        layers = [n for n, m in bare.named_modules() if n and not any(m.children())]
        with torch.no_grad():
            expected = copy.deepcopy(network).eval()(IMAGES)
        with Recorder(network, layers, gradients=gradients):
            found = network(IMAGES)
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("gradients", [False, True])
def test_the_layer_is_kept_as_it_gave_it_though_changed_in_place_later(awkward, gradients):
    plain = copy.deepcopy(awkward).eval()
    with torch.no_grad():
        conv1 = plain.conv1(IMAGES)
        bn1 = plain.bn1(conv1.clone())
        conv2 = plain.conv2(F.relu(bn1))
    with Recorder(awkward, ["conv1", "bn1", "conv2", "relu", "pair"], gradients=gradients) as recorder:
        awkward(IMAGES)
    assert (bn1 < 0).any()
    assert torch.allclose(recorder["conv1"], conv1)
    assert torch.allclose(recorder["bn1"], bn1)
    assert torch.allclose(recorder["conv2"], conv2)
    assert torch.allclose(recorder["relu#0"], F.relu(bn1))
    assert torch.allclose(recorder["pair"], plain.pair.conv(recorder["relu#1"]))  # before one was added in place


@pytest.mark.parametrize("gradients", [False, True])
def test_a_reused_module_wants_its_call_named(awkward, gradients):
    with Recorder(awkward, ["relu"], gradients=gradients) as recorder:
        score = awkward(IMAGES)[:, 0].sum()
    with pytest.raises(
        LayerShapeError, match='"relu" is called 3 times in one forward pass; choose a call: "relu#0" to "relu#2"'
    ):
        recorder["relu"]
    with pytest.raises(LayerShapeError, match='called 3 times in one forward pass, so no "relu#3"'):
        recorder["relu#3"]
    assert recorder["relu#0"].shape == (2, 4, 16, 16)
    assert recorder["relu#1"].shape == (2, 4, 8, 8)
    if gradients:
        first, last = torch.autograd.grad(score, [recorder["relu#0"], recorder["relu#2"]])
        assert first.shape == (2, 4, 16, 16)
        assert torch.allclose(last, last[:, :, :1, :1].expand_as(last))  # only an average and a linear layer follow


def test_a_named_call_is_what_record_gives(awkward):
    _, found = record(awkward, IMAGES, ["relu#0", "relu#2", "conv1#0"])
    assert list(found) == ["relu#0", "relu#2", "conv1#0"]
    assert not torch.equal(found["relu#0"].mean(), found["relu#2"].mean())


@pytest.mark.parametrize("layer", ["pair", "named"])
def test_the_first_tensor_of_a_container_is_taken_and_gradients_pass(awkward, layer):
    awkward = awkward.double()
    with Recorder(awkward, [layer], gradients=True) as recorder:
        score = awkward(IMAGES.double())[:, 1].sum()
    whole = torch.autograd.grad(score, recorder[layer])[0]
    with Recorder(awkward, [f"{layer}.conv"], gradients=True) as recorder:
        score = awkward(IMAGES.double())[:, 1].sum()
    assert torch.allclose(whole, torch.autograd.grad(score, recorder[f"{layer}.conv"])[0])
    assert whole.abs().max() > 0


def test_layers_without_activation_are_explained(awkward):
    with pytest.raises(LayerShapeError, match=r'"unused" is not called in the forward pass of Awkward.*kdlens layers'):
        record(awkward, IMAGES, ["unused"])
    with pytest.raises(LayerShapeError, match='"shape" gives no tensor'):
        record(awkward, IMAGES, ["shape"])
    with Recorder(awkward, ["conv1"]) as recorder:
        awkward(IMAGES)
    with pytest.raises(LayerShapeError, match='"conv2" was not recorded; recorded: conv1'):
        recorder["conv2"]
    with pytest.raises(LayerNotFoundError, match='"conv11" not found in Awkward; did you mean "conv1"'):
        recorder["conv11"]


def test_a_second_pass_replaces_the_first(awkward):
    with Recorder(awkward, ["conv1"]) as recorder:
        awkward(IMAGES)
        first = recorder["conv1"]
        awkward(IMAGES[:1] * 2)
    assert first.shape[0] == 2
    assert recorder["conv1"].shape[0] == 1


def test_eval_mode_is_what_is_recorded(awkward):
    output, _ = record(awkward, IMAGES, [])
    assert torch.equal(output, record(awkward, IMAGES, [])[0])
    assert torch.allclose(output, copy.deepcopy(awkward).eval()(IMAGES))


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: nn.DataParallel(nn.DataParallel(m))])
def test_wrapped_networks_are_addressed_by_the_names_inside(awkward, wrap):
    wrapped = wrap(awkward)
    expected, found = record(awkward, IMAGES, ["conv2"])
    for layer in ("conv2", "module.conv2"):
        with Recorder(wrapped, [layer], gradients=True) as recorder:
            output = wrapped(IMAGES)
        assert torch.equal(recorder[layer], found["conv2"])
        assert torch.equal(output, expected)
    assert unwrap(wrapped) is awkward


@pytest.mark.parametrize(
    "compiled", [lambda m: torch.compile(m, backend="eager"), lambda m: m.compile(backend="eager") or m]
)
def test_compiled_networks_are_recorded_though_compiled_before(resnet, compiled):
    plain = copy.deepcopy(resnet)
    network = compiled(resnet).eval()
    images = IMAGES.double()
    with torch.no_grad():
        network(images)  # compiled here, without our hooks
    for gradients in (False, True):
        with Recorder(network, ["layer2"], gradients=gradients) as recorder:
            network(images)
        assert torch.allclose(recorder["layer2"], record(plain, images, ["layer2"])[1]["layer2"])
    assert network(images).requires_grad


def test_checkpointed_parts_are_called_once():
    class Saving(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.second = nn.Sequential(nn.Linear(3, 3), nn.Tanh())
            self.head = nn.Linear(3, 2)

        def forward(self, x):
            return self.head(checkpoint(self.second, self.first(x), use_reentrant=False))

    network = Saving().double()
    with Recorder(network, ["first", "second.0"], gradients=True) as recorder:
        score = network(torch.ones(2, 3).double())[:, 0].sum()
        first, second = torch.autograd.grad(score, [recorder["first"], recorder["second.0"]])
    expected = network.head.weight[0] * (1 - torch.tanh(recorder["second.0"]) ** 2)
    assert torch.allclose(second, expected)
    assert torch.allclose(first, expected @ network.second[0].weight)


def test_inputs_made_under_inference_mode_are_welcome(resnet):
    with torch.inference_mode():
        images = IMAGES.double() * 1
        with Recorder(resnet, ["layer2"], gradients=True) as recorder:
            score = resnet(images)[:, 0].sum()
            gradient = torch.autograd.grad(score, recorder["layer2"])[0]
        _, found = record(resnet, images, ["layer2"])
    assert gradient.abs().max() > 0
    assert not found["layer2"].is_inference()


def test_inputs_made_under_inference_mode_are_welcome_behind_the_layer_too():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(2, 2)

        def forward(self, x):
            return self.gate(x) * x

    with torch.inference_mode():
        x = torch.tensor([[2.0, 3.0]]) * 1
    network = Gated()
    with torch.inference_mode(), Recorder(network, ["gate"], gradients=True) as recorder:
        assert torch.autograd.grad(network(x).sum(), recorder["gate"])[0].tolist() == [[2.0, 3.0]]


def test_the_layer_is_kept_though_changed_through_another_name():
    class Aliased(nn.Module):
        def __init__(self):
            super().__init__()
            self.same = nn.Identity()

        def forward(self, x):
            y = x * 2
            z = self.same(y)
            y += 1
            return z

    for gradients in (False, True):
        network = Aliased()
        with Recorder(network, ["same"], gradients=gradients) as recorder:
            network(torch.ones(2))
        assert recorder["same"].tolist() == [2.0, 2.0]


def test_integer_activations_are_kept_without_gradient():
    class Index(nn.Module):
        def forward(self, x):
            return x.argmax(1)

    network = nn.Sequential(Index(), nn.Embedding(4, 2))
    with Recorder(network, ["0", "1"], gradients=True) as recorder:
        score = network(torch.eye(4))[:, 0].sum()
    assert recorder["0"].tolist() == [0, 1, 2, 3]
    assert torch.autograd.grad(score, recorder["1"])[0][:, 0].tolist() == [1, 1, 1, 1]


def test_a_tap_trains_what_it_taps(resnet):
    resnet = resnet.train()
    before = resnet.bn1.running_mean.clone()
    with Tap(resnet, ["layer1"]) as tap:
        resnet(IMAGES.double())
    tap["layer1"].square().mean().backward()
    assert resnet.training
    assert not torch.equal(resnet.bn1.running_mean, before)
    assert resnet.conv1.weight.grad.abs().max() > 0
    assert resnet.fc.weight.grad is None


def test_the_parts_of_torchs_own_transformer_are_called():
    """Its fused kernel for inference calls none of them."""
    network = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    x = torch.linspace(-1, 1, 2 * 3 * 8).reshape(2, 3, 8)
    output, found = record(network, x, ["layers.0.self_attn", "layers.1.linear1"])
    assert found["layers.0.self_attn"].shape == (2, 3, 8)
    assert found["layers.1.linear1"].shape == (2, 3, 16)
    assert torch.equal(output, record(network, x, [])[0])  # the same arithmetic whether or not a layer is looked at
    with Recorder(network, []):
        assert not torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        assert torch.allclose(output, network(x), atol=1e-5)


def test_memory_is_not_held_by_hooks_after_the_block(awkward):
    with Recorder(awkward, ["conv1"]) as recorder:
        awkward(IMAGES)
    kept = recorder["conv1"]
    awkward(IMAGES * 3)
    assert recorder["conv1"] is kept
    assert len(recorder) == 1
    assert list(recorder) == ["conv1"]


def test_an_output_without_tensor_is_refused():
    class Text(nn.Module):
        def forward(self, x):
            return "nothing"

    with pytest.raises(LayerShapeError, match="Text gives no tensor"):
        record(Text(), IMAGES, [])
