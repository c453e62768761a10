"""What is done in a dissection, apart from networks and images."""

from dataclasses import dataclass
from typing import get_args

from kdlens.errors import ConfigError
from kdlens.questions.dissection.tally import CategoryRule
from kdlens.questions.dissection.thresholds import LEVEL, Rule


@dataclass(frozen=True)
class Plan:
    """Options of a dissection, see `kdlens.dissect`.

    Attributes:
        threshold_rule: how a unit's threshold is found.
        level: share of places above it.
        category_rule: which activations count against a label.
        min_images: images a label must occur in.
        shuffles: times the masks are dealt to other images.
        rotations: random rotations of every layer.
        groups: of images, for intervals and for concepts chosen on one half and scored on the other.
        examples: images to remember a unit.
        seed: of everything random.
    """

    threshold_rule: Rule = "exact"
    level: float = LEVEL
    category_rule: CategoryRule = "paper"
    min_images: int = 10
    shuffles: int = 20
    rotations: int = 0
    groups: int = 10
    examples: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.threshold_rule not in get_args(Rule):
            raise ConfigError(f'threshold_rule must be "exact" or "netdissect", not "{self.threshold_rule}"')
        if not 0 < self.level < 1:
            raise ConfigError(f"level is the share of places above a threshold, between 0 and 1; got {self.level}")
        if self.category_rule not in get_args(CategoryRule):
            raise ConfigError(f'category_rule must be "paper" or "netdissect-lite", not "{self.category_rule}"')
        if self.groups < 2:
            raise ConfigError(f"groups must be 2 or more, got {self.groups}")
        for name in ("min_images", "shuffles", "rotations", "examples"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, got {getattr(self, name)}")
