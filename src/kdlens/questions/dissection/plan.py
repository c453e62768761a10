"""What is done in a dissection, apart from networks and images."""

from dataclasses import dataclass
from typing import get_args

from kdlens.errors import ConfigError
from kdlens.questions.dissection.tally import CategoryRule
from kdlens.questions.dissection.thresholds import LEVEL, Rule
from kdlens.questions.options import at_least, one_of


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
        one_of(self, threshold_rule=get_args(Rule), category_rule=get_args(CategoryRule))
        if not 0 < self.level < 1:
            raise ConfigError(f"level is the share of places above a threshold, between 0 and 1; got {self.level}")
        at_least(self, groups=2, min_images=0, shuffles=0, rotations=0, examples=0)
