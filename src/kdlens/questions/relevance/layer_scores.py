"""A table of scores, one for every layer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdlens.questions.relevance.scores import Score

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LayerScores(Mapping[str, Score]):
    """A score for every layer, first to last; look one up by its name.

    Attributes:
        metric: what was measured, `"fss"`, `"rs"` or `"rs_given"`.
        scores: layer -> score.
        other_layers: layer -> the layer of the other network it was compared with.
        notes: what a reader must know, e.g. that two classes make every label embedding equal, or which part of the
            images was kept, and how many images were left out.
    """

    metric: str
    scores: dict[str, Score]
    other_layers: dict[str, str]
    notes: tuple[str, ...] = ()

    def __getitem__(self, layer: str) -> Score:
        return self.scores[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def to_frame(self) -> "pd.DataFrame":
        """One row a layer: value, low, high, chance, p, n, problem."""
        import pandas as pd  # heavy, and only needed here

        columns = ("value", "low", "high", "chance", "p", "n", "problem")
        return pd.DataFrame(
            {"layer": layer, **{name: getattr(score, name) for name in columns}} for layer, score in self.items()
        )

    def __str__(self) -> str:
        lines = [f"{'layer':<20} {self.metric:>8}   95 % interval   chance       p     n"]
        for layer, s in self.items():
            ends = f"[{s.low:6.3f}, {s.high:6.3f}]"
            lines.append(
                f"{layer:<20} {s.value:8.3f}  {ends}  {s.chance:7.3f} {s.p:7.3f} {s.n:5d}  {s.problem}".rstrip()
            )
        return "\n".join([*lines, *self.notes])
