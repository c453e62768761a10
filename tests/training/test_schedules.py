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
