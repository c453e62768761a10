"""The temperatures of a study's networks: one for every image, fitted without it."""

from jaxtyping import Float
from torch import Tensor

from kdlens.questions.context import Context, Subject
from kdlens.questions.unicam.joint.evidence import cross_fitted, of_label


class Temperatures:
    """Temperatures, cross-fitted on all images of the study, once for each network.

    Args:
        context: the study.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self._found: dict[Subject, Tensor] = {}

    def __call__(self, subject: Subject, chosen: Tensor) -> Float[Tensor, " n"]:
        """Temperatures of a network for the images `chosen`.

        Raises:
            DataError: labels that the network has no logits for, or logits that are not finite.
        """
        if subject not in self._found:
            self._found[subject] = cross_fitted(self.context.logits(subject), self.context.labels)
        return self._found[subject][chosen]

    def evidence(self, subject: Subject, images: Tensor, chosen: Tensor) -> Float[Tensor, " n"]:
        """A network's evidence for the labels of the images `chosen`, which may have been changed, in nats."""
        logits = self.context.run(subject, images)
        return of_label(logits, self.context.labels[chosen]) / self(subject, chosen)
