"""The mixture of experts: a tiny one by hand, the released network's outputs, and what must not change them."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import kdlens
from kdlens.errors import ConfigError, ModelError, UnknownNameError
from kdlens.models.zoo.hme import hme
from kdlens.nn import HME, LinearHeads, TaskAttention, ltb_compat


class Times(nn.Module):
    """Multiplies, or adds."""

    def __init__(self, factor=1.0, plus=0.0):
        super().__init__()
        self.factor, self.plus = factor, plus

    def forward(self, x):
        return self.factor * x + self.plus


class YesMinusNo(nn.Module):
    """A head that says no with 0 and yes with x - 1.5."""

    def forward(self, x):
        return torch.cat([torch.zeros_like(x), x - 1.5], dim=1)


def rows(*values):
    """Attention with these weights."""
    weights = torch.tensor(values, dtype=torch.float64)
    attention = TaskAttention(*weights.shape, noise=0.0).double()
    attention.logits.data.copy_(weights.log())
    return attention


def test_a_tiny_mixture_by_hand():
    first = rows([0.75, 0.25], [0.5, 0.5])
    second = rows([0.9, 0.1], [0.2, 0.8], [0.5, 0.5])
    experts = [[Times(1.0), Times(3.0)], [Times(plus=1.0), Times(2.0)]]
    network = HME(nn.Identity(), experts, [YesMinusNo() for _ in range(3)], [first, second])
    out = network.routed(torch.ones(1, 1, dtype=torch.float64))
    assert [f.item() for f in out.features[1]] == pytest.approx([2.5, 4.0])
    assert (out.logits[0] + 1.5).tolist() == pytest.approx([2.65, 3.7, 3.25])
    assert out.logits[0].sigmoid().tolist() == pytest.approx([0.75951092, 0.90024951, 0.85195280], abs=1e-8)
    assert out.logits.argmax().item() == 1


def filled(head):
    """The released network with the weights of the worked example."""
    network = ltb_compat(5, head=head).double().eval()
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    for n, layer in enumerate(layers):
        fan_in = layer.weight[0].numel()
        for kind, tensor in enumerate((layer.weight, layer.bias)):
            i = torch.arange(tensor.numel(), dtype=torch.float64)
            tensor.data.copy_((torch.sin(0.1 * i + 2 * n + kind) * math.sqrt(2 / fan_in)).view_as(tensor))
    for level, attention in enumerate(network.task_attentions(), start=2):
        receivers, senders = attention.logits.shape
        j, k = torch.meshgrid(torch.arange(receivers), torch.arange(senders), indexing="ij")
        attention.logits.data.copy_(((3 * j + 5 * k + level) % 7) / 7)
    assert 2 * len(layers) == 86
    return network


RELEASED = {
    ("ce", 10): [
        [-3.905613, -3.885614, -3.279600, -3.247997, -3.741802],
        [-3.804927, -3.788413, -3.202240, -3.169857, -3.661277],
    ],
    ("ce", 1): [
        [-3.869713, -3.789957, -3.303533, -3.250968, -3.790665],
        [-3.753329, -3.681067, -3.218174, -3.160850, -3.698950],
    ],
    ("ce", 0): [
        [-2.421112, -2.017632, -3.968058, -3.105220, -4.020062],
        [-2.398185, -1.968956, -3.916526, -3.060252, -3.855291],
    ],
    ("nce", 10): [
        [-3.905613, -3.885614, -3.279600, -3.247997, -3.378462],
        [-3.804927, -3.788413, -3.202240, -3.169857, -3.312409],
    ],
    ("nce", 1): [
        [-3.869713, -3.789957, -3.303533, -3.250968, -3.395621],
        [-3.753329, -3.681067, -3.218174, -3.160850, -3.321534],
    ],
    ("nce", 0): [
        [-2.421112, -2.017632, -3.968058, -2.734109, -3.816218],
        [-2.398185, -1.968956, -3.916526, -2.710544, -3.648482],
    ],
}


@pytest.mark.parametrize("head", ["ce", "nce"])
def test_the_released_network_gives_what_the_released_code_gives(head):
    network = filled(head)
    x = torch.cos(0.01 * torch.arange(6144, dtype=torch.float64)).view(2, 3, 32, 32)
    for t in (10, 1, 0):
        network.temperature = t / 2
        expected = torch.tensor(RELEASED[head, t], dtype=torch.float64)
        torch.testing.assert_close(network(x).detach(), expected, atol=1e-5, rtol=0)


def test_entropies_and_parents_of_the_released_network():
    network = filled("ce")
    network.temperature = 0.5
    attentions = network.task_attentions()
    assert [a.entropy().mean().item() for a in attentions] == pytest.approx([0.613205, 1.249764, 1.932996], abs=1e-6)
    parents = [a.parents().tolist() for a in attentions]
    assert parents == [[0, 0, 1, 0], [2, 0, 2, 3, 1, 3, 1, 2], [6, 4, 2, 0, 5]]


def test_parameters_of_the_released_network_without_its_dead_stem():
    def count(network):
        return sum(p.numel() for p in network.parameters())

    assert count(ltb_compat(10, head="ce")) == 3_003_522 - 9_600
    assert count(ltb_compat(10, head="nce")) == 3_004_812 - 9_600
    assert count(ltb_compat(100, head="ce")) == 22_576_812 - 9_600


def small(classes=4, experts=3, heads=2, seed=0):
    """Two levels on vectors of 6."""
    torch.manual_seed(seed)
    levels = [[nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(experts)] for _ in range(2)]
    return HME(nn.Linear(6, 6), levels, LinearHeads(6, classes, heads)).double()


@settings(deadline=None, max_examples=20)
@given(st.permutations(range(3)), st.integers(0, 1))
def test_renumbering_experts_with_their_attention_changes_nothing(order, level):
    network = small()
    for attention in network.task_attentions():
        nn.init.normal_(attention.logits)
    x = torch.randn(5, 6, dtype=torch.float64)
    before = network(x)
    other = copy.deepcopy(network)
    other.levels[level] = nn.ModuleList(other.levels[level][i] for i in order)
    above = other.task_attentions()[level]
    above.logits.data = above.logits.data[:, list(order)]
    if level == 1:
        below = other.task_attentions()[0]
        below.logits.data = below.logits.data[list(order)]
    torch.testing.assert_close(other(x), before)


def test_one_expert_a_level_is_the_plain_chain():
    network = small(experts=1)
    x = torch.randn(5, 6, dtype=torch.float64)
    features = network.levels[1][0](network.levels[0][0](network.trunk(x)))
    pairs = network.heads(features.expand(4, 5, 6))
    torch.testing.assert_close(network(x), pairs[:, :, 1] - pairs[:, :, 0])


def test_cold_attention_tends_to_the_tree_and_experts_off_it_do_not_run():
    network = small()
    for attention in network.task_attentions():
        nn.init.normal_(attention.logits)
    x = torch.randn(5, 6, dtype=torch.float64)
    network.temperature = 1e-3
    cold = network(x)
    network.temperature = 0
    torch.testing.assert_close(network(x), cold)
    read = network.experts_read()
    features = network.routed(x).features
    assert [{i for i, f in enumerate(level) if f is not None} for level in features] == read
    assert read[0] == {network.task_attentions()[0].parents().tolist()[i] for i in read[1]}


def test_in_hard_attention_experts_off_the_tree_and_logits_get_no_gradient():
    network = small()
    network.task_attentions()[1].logits.data[:, 0] = 5.0
    network.temperature = 0
    network(torch.randn(5, 6, dtype=torch.float64)).sum().backward()
    assert all(p.grad is None for a in network.task_attentions() for p in a.parameters())
    for i, expert in enumerate(network.levels[1]):
        assert (expert[0].weight.grad is not None) == (i == 0)


def test_one_temperature_for_all():
    network = small()
    network.temperature = 0.5
    assert {a.temperature for a in network.task_attentions()} == {0.5} == {network.temperature}


def test_heads_may_be_modules_and_give_one_logit():
    network = HME(nn.Identity(), [[nn.Linear(3, 2)]], [nn.Linear(2, 1) for _ in range(5)], task_mode="multiclass")
    assert network(torch.zeros(2, 3)).shape == (2, 5)
    assert network.routed(torch.zeros(2, 3)).pair_logits is None


def test_two_logits_in_multiclass_mode_count_by_the_larger():
    network = HME(nn.Identity(), [[nn.Linear(3, 2)]], LinearHeads(2, 4, 2), task_mode="multiclass")
    out = network.routed(torch.randn(2, 3))
    torch.testing.assert_close(out.logits, out.pair_logits.max(dim=2).values)


@pytest.mark.parametrize("name", ["hme_resnet8", "hme_wrn_10_1", "hme_vgg8", "hme_resnet8x4", "hme_smoothcnn8"])
def test_zoo_networks_are_cut_and_come_back_from_a_file(name, tmp_path):
    network = kdlens.load_model(f"zoo:{name}", classes=7)
    network.temperature = 0.3
    images = torch.randn(2, 3, 32, 32)
    assert network(images).shape == (2, 7)
    kdlens.save_weights(network, tmp_path / "network.safetensors")
    again = kdlens.load_model(f"zoo:{name}", classes=7, weights=tmp_path / "network.safetensors")
    torch.testing.assert_close(again(images), network(images))
    assert again.temperature == 0.3


def test_cutting_into_experts_saves_weights():
    whole, parts = kdlens.load_model("zoo:resnet8", classes=10), hme("resnet8", 10, experts=4)
    assert sum(p.numel() for p in parts.parameters()) < sum(p.numel() for p in whole.parameters())
    assert all(not p.isnan().any() for p in parts.parameters())


def test_gray_images_and_other_numbers_of_experts():
    assert hme("resnet8", 3, 1, experts=2)(torch.zeros(2, 1, 32, 32)).shape == (2, 3)


def test_a_backbone_that_cannot_be_cut():
    with pytest.raises(UnknownNameError, match="no mixture of experts can be cut"):
        hme("vit_tiny_cifar")
    with pytest.raises(UnknownNameError, match="unknown network"):
        kdlens.load_model("zoo:hme_mobilenetv2")


def test_experts_must_divide_the_channels():
    with pytest.raises(ConfigError, match="stage 2 of resnet8 has 32 channels, which 5 experts"):
        hme("resnet8", experts=5)


def test_one_class_has_no_conflict():
    with pytest.raises(ConfigError, match="two classes"):
        HME(nn.Identity(), [[nn.Linear(3, 2)]], LinearHeads(2, 1))


def test_a_level_without_experts():
    with pytest.raises(ConfigError, match=r"levels\.1 has no experts"):
        HME(nn.Identity(), [[nn.Linear(3, 2)], []], LinearHeads(2, 3))


def test_no_levels():
    with pytest.raises(ConfigError, match="at least one level"):
        HME(nn.Identity(), [], LinearHeads(2, 3))


def test_an_expert_used_twice_is_named():
    expert = nn.Linear(3, 2)
    with pytest.raises(ConfigError, match=r"levels\.0\.1 is the same module as levels\.0\.0"):
        HME(nn.Identity(), [[expert, expert]], LinearHeads(2, 3))


def test_attentions_that_do_not_fit():
    with pytest.raises(ConfigError, match=r"\(3, 1\).* are needed, got .*\(3, 2\)"):
        HME(nn.Identity(), [[nn.Linear(3, 2)]], LinearHeads(2, 3), [TaskAttention(3, 2)])


def test_experts_of_one_level_must_agree_on_a_shape():
    network = HME(nn.Identity(), [[nn.Linear(3, 2), nn.Linear(3, 4)]], LinearHeads(2, 3))
    with pytest.raises(ModelError, match=r"levels\.0\.1 gives \(5, 4\) and levels\.0\.0 \(5, 2\)"):
        network(torch.zeros(5, 3))


def test_heads_of_another_width_are_refused():
    network = HME(nn.Identity(), [[nn.Linear(3, 2)]], [nn.Linear(2, 3) for _ in range(4)])
    with pytest.raises(ModelError, match=r"\(n, 1\) or \(n, 2\)"):
        network(torch.zeros(5, 3))


def test_an_unknown_mode():
    with pytest.raises(ConfigError, match="task_mode"):
        HME(nn.Identity(), [[nn.Linear(3, 2)]], LinearHeads(2, 3), task_mode="multi")
