"""What a training gives back."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from kdlens.training.losses import Loss
from kdlens.training.paths import PathLengths

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained student and how it came about.

    Attributes:
        network: the student, in eval mode; the object that was given.
        history: one row an epoch: `epoch`, `lr`, `loss`, each term as `loss_NAME`, `top1` (%, on the training images as
            they were seen), `validation_top1` and `validation_nll` where asked for, and `seconds`.
        folder: where it is stored, or None.
        path_lengths: how far the weights of the recorded layers travelled.
        loss: the method, with what it learned itself (a regressor, say).
        earlier: trainings this one built on, first to last: generations, links of a chain, the soft stage.
    """

    network: nn.Module
    history: list[dict[str, float]]
    folder: Path | None
    path_lengths: PathLengths
    loss: Loss
    earlier: tuple["TrainResult", ...] = ()

    def to_frame(self) -> "pd.DataFrame":
        """Return the history as a table."""
        import pandas as pd

        return pd.DataFrame(self.history)

    def __repr__(self) -> str:
        last = self.history[-1] if self.history else {}
        shown = ", ".join(f"{name} {last[name]:.4g}" for name in ("loss", "top1", "validation_top1") if name in last)
        return f"TrainResult({type(self.network).__name__}, {self.loss.name}, {len(self.history)} epochs: {shown})"
