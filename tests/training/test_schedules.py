"""Learning rates by hand, and against torch's schedulers."""

import pytest
import torch

from kdlens.errors import ConfigError, UnknownNameError
from kdlens.training.schedules import SCHEDULES, make_schedule, resolve_schedule


def factors(given, epochs=4, steps=5):
    factor = make_schedule(resolve_schedule(given, epochs), epochs, steps)
    return [factor(t) for t in range(epochs * steps)]


def test_cosine_is_torchs():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    expected = []
    for _ in range(20):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert factors("cosine") == pytest.approx(expected)


def test_steps_fall_after_the_milestones():
    rates = factors({"name": "step", "milestones": [1, 3], "gamma": 0.5})
    assert rates == [1.0] * 5 + [0.5] * 10 + [0.25] * 5


def test_warmup_rises_to_the_full_rate():
    rates = factors({"name": "constant", "warmup": 2})
    assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert rates[10:] == [1.0] * 10


def test_one_cycle_has_its_peak_where_asked():
    rates = factors({"name": "one-cycle", "peak": 0.25})
    assert rates.index(max(rates)) == 5
    assert max(rates) == pytest.approx(1.0)
    assert rates[0] == pytest.approx(0.04)
    assert rates[-1] < 0.05


def test_the_released_schedules():
    """Learning rates of weights and branches in the first training, and of the weights in the second, by epoch."""
    first = dict(enumerate(factors("ltb", 300, 1), start=1))
    weights = {1: 0.0125, 2: 0.025, 3: 0.05, 4: 0.05, 5: 0.04935275, 6: 0.04935275}
    weights |= {50: 0.04223301, 101: 0.03381877, 300: 0.00177994}
    assert {epoch: 0.05 * first[epoch] for epoch in weights} == pytest.approx(weights, abs=1e-8)
    branches = {3: 0.01, 5: 0.00987055, 50: 0.0084466, 101: 0.00676375, 300: 0.00035599}  # none in epochs 1 and 2
    assert {epoch: 0.01 * first[epoch] for epoch in branches} == pytest.approx(branches, abs=1e-8)
    halving = {"name": "step", "milestones": list(range(29, 300, 30)), "gamma": 0.5}
    second = dict(enumerate(factors(halving, 300, 1), start=1))
    expected = {29: 0.05, 30: 0.025, 60: 0.0125, 90: 0.00625, 300: 4.8828125e-5}
    assert {epoch: 0.05 * second[epoch] for epoch in expected} == pytest.approx(expected)


@pytest.mark.parametrize("name", SCHEDULES)
def test_factors_stay_within_0_and_1(name):
    assert all(0 <= rate <= 1 for rate in factors(name, 7, 3))


def test_mistakes_are_named():
    with pytest.raises(UnknownNameError, match='unknown schedule "cosin"; did you mean "cosine"'):
        resolve_schedule("cosin", 3)
    with pytest.raises(ConfigError, match='schedule "cosine" has no option "warmpu"; did you mean "warmup"'):
        resolve_schedule({"name": "cosine", "warmpu": 1}, 3)
    with pytest.raises(ConfigError, match="warmup must lie between 0 and the 3 epochs, not 4"):
        resolve_schedule({"name": "cosine", "warmup": 4}, 3)
