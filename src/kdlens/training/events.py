"""What a training tells whoever wants to watch it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened in a training.

    Attributes:
        kind: `start`, `step` (an update was made), `epoch` (one is finished) or `end`.
        title: which training.
        epoch: finished epochs.
        epochs: epochs in all.
        step: updates made in this epoch.
        steps: updates an epoch.
        values: `step`: the loss of the update before; `epoch`: the row of the history.
    """

    kind: Literal["start", "step", "epoch", "end"]
    title: str
    epoch: int
    epochs: int
    step: int
    steps: int
    values: Mapping[str, float] = field(default_factory=dict)


Listener = Callable[[Event], None]
"""Called on the first process with every event, in order. It must be quick: the training waits for it."""
