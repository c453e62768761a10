"""The phases of a training: which one an epoch belongs to, its learning rate, and what is frozen in it."""

from collections.abc import Callable, Sequence

from torch import nn

from kdlens.models.wrappers import unwrap
from kdlens.training.losses.base import Phase


class Course:
    """The phases of a method, laid over the epochs of a training.

    The schedule runs through once in each phase, drawn out to its length, as in trainings of their own.

    Args:
        phases: in order.
        student: the network that is trained.
        factor: from the step, counted over the whole training, to the factor on the learning rate.
        steps: steps an epoch.

    Example:
        >>> halving = {0: 1.0, 1: 0.5, 2: 0.25, 3: 0.125}
        >>> course = Course([Phase(2), Phase(2, lr=0.01)], nn.Linear(1, 1), halving.__getitem__, steps=1)
        >>> [course.lr(0.1, epoch, 0) for epoch in range(4)]
        [0.1, 0.025, 0.01, 0.0025]
    """

    def __init__(self, phases: Sequence[Phase], student: nn.Module, factor: Callable[[int], float], steps: int) -> None:
        self._phases = tuple(phases)
        self._student, self._factor, self._steps = unwrap(student), factor, steps
        self._total = sum(phase.epochs for phase in phases) * steps
        self._trained = {name: parameter.requires_grad for name, parameter in self._student.named_parameters()}

    def lr(self, base: float, epoch: int, step: int, *, own: bool = False) -> float:
        """The learning rate of a step, from that of the optimiser, or from an own one that phases do not change."""
        start, phase = self._at(epoch)
        done = (epoch - start) * self._steps + step
        return (base if own else phase.lr or base) * self._factor(done * self._total // (phase.epochs * self._steps))

    def enter(self, epoch: int) -> None:
        """Put the student into training mode, but for what is frozen in this epoch."""
        frozen = self._at(epoch)[1].frozen
        self._student.train()
        for name, parameter in self._student.named_parameters():
            parameter.requires_grad_(self._trained[name] and name not in frozen.parameters)
        for name in frozen.modules:
            self._student.get_submodule(name).training = False

    def leave(self) -> None:
        """Let everything be trained again that was."""
        for name, parameter in self._student.named_parameters():
            parameter.requires_grad_(self._trained[name])

    def _at(self, epoch: int) -> tuple[int, Phase]:
        start = 0
        for phase in self._phases:
            if epoch < start + phase.epochs:
                break
            start += phase.epochs
        return start, phase
