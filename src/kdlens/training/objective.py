"""The student's side of a step: forward pass and loss in one module, so that several processes wrap exactly this."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kdlens.errors import DataError
from kdlens.training.losses import Inputs, Loss
from kdlens.training.outputs import Reader
from kdlens.training.teaching import Precision, Taught


class Step(NamedTuple):
    """Outcome of a forward pass: the weighted terms, scalars with gradient, and the student's logits without."""

    terms: dict[str, Tensor]
    logits: Tensor


class Objective(nn.Module):
    """A student and the loss it is trained with.

    Args:
        student: the network to train.
        loss: the method.
        layers: the student's layers that the method reads.
        precision: makes the context in which the student's forward pass runs.
        penalty: gives terms of the loss that look at the student alone, whatever the method.
    """

    def __init__(
        self,
        student: nn.Module,
        loss: Loss,
        layers: Sequence[str],
        precision: Precision,
        penalty: Callable[[], dict[str, Tensor]] = dict,
    ) -> None:
        super().__init__()
        self.student = student
        self.loss = loss
        self._reader = Reader(student, "student", layers, spatial=loss.spatial)
        self._precision = precision
        self._penalty = penalty

    def forward(self, images: Tensor, labels: Tensor, taught: Taught, epoch: int) -> Step:
        """Run the student on a batch and compare."""
        inputs = self.inputs(images, labels, taught, epoch)
        return Step({**self.loss(inputs), **self._penalty()}, inputs.student_logits.detach())

    def inputs(self, images: Tensor, labels: Tensor, taught: Taught, epoch: int) -> Inputs:
        """Run the student on a batch and gather what a method may look at."""
        with self._precision():
            logits, features = self._reader(images)
        return Inputs(
            labels=labels,
            student_logits=logits,
            teacher_logits=taught.logits,
            student_features=features,
            teacher_features=taught.features,
            images=images,
            epoch=epoch,
        )

    def build(self, images: Tensor, labels: Tensor, taught: Taught) -> int:
        """Let the method create its parameters, from an example that leaves no trace in the student.

        Returns:
            The number of classes the student names.
        """
        modes = [(module, module.training) for module in self.student.modules()]
        self.student.eval()
        try:
            with torch.no_grad():
                example = self.inputs(images, labels, taught, epoch=0)
                self.loss.build(example)
        finally:
            for module, training in modes:
                module.training = training
        return example.student_logits.shape[1]

    def close(self) -> None:
        """Take the hooks away."""
        self._reader.close()


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise `DataError` unless all labels are among the student's classes."""
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"labels run from {low} to {high}, but the student has {classes} classes (0 to {classes - 1}); "
            f"build it with {high + 1} classes or more"
        )
