"""The numbers of the published procedure, in one place, and the protocols that make networks comparable."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from kdlens.errors import ConfigError

Protocol = Literal["published", "converged", "alpha"]
"""`published`: stochastic descent from a small noise, stopped at a given mean entropy (what the authors' code does).
`converged`: the optimum of the penalised loss (what the paper describes).
`alpha`: the largest entropy at which features move by `alpha` times their unit (Ma et al., ICML 2022)."""

HALF_LOG_2_PI_E = 0.5 * math.log(2 * math.pi * math.e)
"""Entropy in nats of a Gaussian of unit variance."""


@dataclass(frozen=True)
class Recipe:
    """How the noise is found.

    Attributes:
        protocol: which noise is asked for.
        start: standard deviation of the noise at the start, and of the unit of the feature loss.
        loss_weight: lambda, the weight of the mean entropy against the feature loss (7 for VGG and AlexNet, 6 for
            ResNets in the authors' code; results of different weights are not comparable).
        alpha: feature loss of the protocol `alpha`.
        rate: step of the descent with 256 cells, which is what the authors use.
        draws: noisy inputs a step.
        steps: steps before the weight is raised, where the target has not been reached.
        more_steps: steps after that.
        raised: factor of the raise.
        target: mean entropy in nats at which the descent is stopped.
        low: least standard deviation.
        high: largest standard deviation.
    """

    protocol: Protocol = "published"
    loss_weight: float = 7.0
    alpha: float = 1.5
    start: float = 0.01
    rate: float = 1e-4
    draws: int = 96
    steps: int = 60
    more_steps: int = 20
    raised: float = 1.5
    target: float = -2.8
    low: float = 0.001
    high: float = 1.0

    def rate_of(self, cells: int) -> float:
        """Step of the descent with so many cells, by which the path is the same for any grid.

        A cell's share of the loss, and so its slope, is one in `cells`.
        """
        return self.rate * cells / 256

    def __post_init__(self) -> None:
        if self.protocol not in get_args(Protocol):
            raise ConfigError(f'protocol must be one of {", ".join(get_args(Protocol))}; got "{self.protocol}"')
        for name in ("loss_weight", "alpha"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ConfigError(f"{name} must be a positive number, got {getattr(self, name)}")
