"""Attention rows, their entropy and gradient, the hard choice, and what a state dict keeps."""

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdlens.errors import ConfigError
from kdlens.nn import TaskAttention
from kdlens.nn.task_attention import attention_rows, row_entropy

LOGITS = torch.tensor([[2.0, 1, 0, 0], [0, 0, 0, 0], [0, 3, 0, 0], [0, 2.5, 0.5, 0]], dtype=torch.float64)
ROWS = [
    [0.61029569, 0.22451524, 0.08259454, 0.08259454],
    [0.25, 0.25, 0.25, 0.25],
    [0.04331716, 0.87004851, 0.04331716, 0.04331716],
    [0.06316634, 0.76952361, 0.10414370, 0.06316634],
]


def attention_of(logits, **options):
    attention = TaskAttention(*logits.shape, **options).to(logits.dtype)
    attention.logits.data.copy_(logits)
    return attention


def test_rows_entropy_and_parents_of_the_worked_example():
    attention = attention_of(LOGITS)
    torch.testing.assert_close(attention.weights(), torch.tensor(ROWS, dtype=torch.float64), atol=1e-8, rtol=0)
    entropy = attention.entropy()
    assert entropy.tolist() == pytest.approx([1.04870510, 1.38629436, 0.52906079, 0.78610276], abs=1e-8)
    assert entropy.mean().item() == pytest.approx(0.93754075, abs=1e-8)
    assert entropy.mean().item() / math.log(4) == pytest.approx(0.67629270, abs=1e-8)
    assert attention.parents().tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("temperature", "entropies", "mean"),
    [(0.5, [0.51466232, 1.38629436, 0.05169694, 0.16760521], 0.53006471), (0.1, None, 0.34669847)],
)
def test_a_lower_temperature_sharpens_as_computed(temperature, entropies, mean):
    entropy = attention_of(LOGITS, temperature=temperature).entropy()
    assert entropy.mean().item() == pytest.approx(mean, abs=1e-8)
    if entropies:
        assert entropy.tolist() == pytest.approx(entropies, abs=1e-8)


def test_the_gradient_of_the_entropy_is_the_closed_form_and_vanishes_on_uniform_rows():
    logits = LOGITS.clone().requires_grad_()
    row_entropy(logits, 1.0).sum().backward()
    assert logits.grad[0].tolist() == pytest.approx([-0.33864904, 0.09993321, 0.11935791, 0.11935791], abs=1e-8)
    assert logits.grad[1].abs().max() < 1e-15


@pytest.mark.parametrize("t", [10.0, 1.0])
def test_the_released_routing_is_ours_at_half_its_temperature(t):
    s = torch.tensor([[0.2, 0.8], [0.5, 0.1], [0.0, 1.0], [0.3, 0.3]], dtype=torch.float64)
    expected = {
        10.0: [[0.470036, 0.529964], [0.519989, 0.480011], [0.450166, 0.549834], [0.5, 0.5]],
        1.0: [[0.231475, 0.768525], [0.689974, 0.310026], [0.119203, 0.880797], [0.5, 0.5]],
    }
    torch.testing.assert_close(
        attention_rows(s, t / 2), torch.tensor(expected[t], dtype=torch.float64), atol=5e-7, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 1 / 60, 100.0])
def test_logits_of_a_thousand_stay_finite_with_their_gradients(dtype, temperature):
    logits = torch.tensor([[1000.0, -1000.0, 0.0], [-1000.0, -1000.0, 1000.0]], dtype=dtype, requires_grad=True)
    rows, entropy = attention_rows(logits, temperature), row_entropy(logits, temperature)
    (rows.square().sum() + entropy.sum()).backward()
    for tensor in (rows, entropy, logits.grad):
        assert torch.isfinite(tensor).all()
    assert rows.sum(dim=1).tolist() == pytest.approx([1.0, 1.0])


@settings(deadline=None)
@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=5),
    st.floats(0.05, 20),
)
def test_rows_lie_in_the_simplex_and_entropy_between_nothing_and_uniform(values, temperature):
    logits = torch.tensor(values, dtype=torch.float64)
    rows, entropy = attention_rows(logits, temperature), row_entropy(logits, temperature)
    assert (rows >= 0).all()
    assert rows.sum(dim=1).tolist() == pytest.approx([1.0] * len(values))
    assert (entropy >= -1e-12).all()
    assert (entropy <= math.log(3) + 1e-12).all()


@settings(deadline=None)
@given(st.permutations(range(4)))
def test_cold_attention_tends_to_the_hard_choice_and_hot_to_even_shares(order):
    logits = torch.tensor([[0.0, 1.0, 2.0, 3.0]], dtype=torch.float64)[:, list(order)]
    torch.testing.assert_close(attention_rows(logits, 1e-3), attention_rows(logits, 0.0))
    torch.testing.assert_close(attention_rows(logits, 1e6), torch.full_like(logits, 0.25), atol=1e-5, rtol=0)


def test_equal_logits_choose_the_first():
    assert attention_rows(torch.zeros(1, 3), 0.0).tolist() == [[1.0, 0.0, 0.0]]
    assert TaskAttention(2, 5, noise=0.0).parents().tolist() == [0, 0]


def test_hard_attention_sends_no_gradient_unless_told_to():
    features = [torch.ones(2, 3), 2 * torch.ones(2, 3)]
    hard = attention_of(torch.tensor([[0.0, 1.0]]), temperature=0.0)
    assert not hard(features)[0].requires_grad
    through = attention_of(torch.tensor([[0.0, 1.0]]), temperature=0.0, straight_through=True)
    mixed = through(features)[0]
    torch.testing.assert_close(mixed.detach(), features[1])
    mixed.sum().backward()
    assert through.logits.grad.abs().sum() > 0


def test_the_state_dict_keeps_the_temperature_and_where_it_began(tmp_path):
    attention = TaskAttention(3, 4, temperature=0.25)
    attention.logits.data += 1.0
    other = TaskAttention(3, 4)
    assert other.load_state_dict(attention.state_dict()).unexpected_keys == []
    assert other.temperature == 0.25
    assert other.moved() == pytest.approx(1.0)
    assert copy.deepcopy(attention).half().float().temperature == 0.25
    older = {name: value for name, value in attention.state_dict().items() if name != "temperature"}
    assert TaskAttention(3, 4, temperature=2.0).load_state_dict(older).missing_keys == []


def test_attention_that_was_never_trained_has_not_moved():
    assert TaskAttention(3, 4).moved() == 0.0


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"temperature": float("nan")}, {"temperature": "cold"}])
def test_a_senseless_temperature_is_refused(options):
    with pytest.raises(ConfigError, match="at least 0"):
        TaskAttention(2, 2, **options)


def test_attention_needs_receivers_and_senders():
    with pytest.raises(ConfigError, match="got 0 and 2"):
        TaskAttention(0, 2)
