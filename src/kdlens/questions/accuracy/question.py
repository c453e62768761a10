"""Did it help? Accuracy, calibration and likeness to the teacher, and a verdict by a stated rule."""

from dataclasses import asdict, dataclass
from typing import ClassVar

from kdlens.answer import Answer, Notes
from kdlens.questions.accuracy.alerts import say_alerts
from kdlens.questions.accuracy.findings import say_all
from kdlens.questions.accuracy.judged import judge, pairs
from kdlens.questions.accuracy.rows import add_class_gains, add_gain, add_quality, add_teacher_advantage
from kdlens.questions.accuracy.verdict import rule
from kdlens.questions.context import Context
from kdlens.questions.options import at_least


@dataclass(frozen=True)
class Accuracy:
    """Did distillation help?

    Attributes:
        margin: the smallest gain or loss in top-1 accuracy worth having, in points.
        bins: bins of the calibration errors.
    """

    name: ClassVar[str] = "accuracy"

    margin: float = 1.0
    bins: int = 15

    def __post_init__(self) -> None:
        at_least(self, margin=0, bins=1)

    def answer(self, context: Context) -> Answer:
        """Judge every network on all images and compare every student with its baseline.

        Raises:
            DataError: no images, or labels outside the classes.
            ModelError: logits that do not fit the data, or are NaN for all images.
        """
        judged = judge(context)
        answer = Answer(self.name, _notes(self))
        labels, classes = context.labels, list(context.class_names)
        teacher = next((network for network in judged.values() if network.role == "teacher"), None)
        for network in judged.values():
            add_quality(answer, network, teacher, labels, bins=self.bins, seed=context.seed)
        if teacher is not None:
            baseline = next(network for network in judged.values() if network.role == "baseline")
            add_teacher_advantage(answer, teacher, baseline, seed=context.seed)
        compared = pairs(context, judged)
        for pair in compared:
            add_gain(answer, pair, teacher, labels, seed=context.seed)
            add_class_gains(answer, pair, labels, classes, seed=context.seed)
        say_all(answer, compared, margin=self.margin)
        say_alerts(answer, judged, compared, labels, classes)
        return answer


def _notes(question: Accuracy) -> Notes:
    return Notes(
        question="Did distillation help?",
        method=(
            "Every network names every image; student and baseline of the same seed are compared image by image. "
            f"{rule(question.margin)} With one seed the interval is a paired bootstrap over images (with one better "
            "and one worse image added, so that few images never look certain). With several seeds, its half-width "
            "and that of Student's t interval over seeds are added in quadrature, because the images and the training "
            "runs could both have come out otherwise. p is the exact McNemar test; for classes with several "
            "seeds, it asks of images and training runs alike, as the interval does: the level at which the interval "
            "would reach 0, or that of the exact test over images where it is larger. For classes it is corrected for "
            f"their number (Holm). Expected calibration error = mean over {question.bins} bins of |share right - mean "
            "confidence|; its chance level is that of a perfectly calibrated network with the same confidences."
        ),
        how_to_read=(
            "A gain is in points of top-1 accuracy. Helped images are right with the student and wrong with the "
            "baseline; hurt images the reverse: a small gain can hide many of both. Agreement is the share of images "
            "that a network names as the teacher does, right or wrong; KL is that of the network's class probabilities "
            "from the teacher's, in nats, at temperature 1."
        ),
        limits=(
            "One seed speaks of two networks, not of the method. The images must be those the networks did not train "
            "on. The interval over seeds covers the baseline's training only if the baseline has as many seeds."
        ),
        sources=(
            "McNemar, Psychometrika 12 (1947)",
            "Guo et al., On calibration of modern neural networks, ICML 2017, eq. 3",
            "Stanton et al., Does knowledge distillation really work?, NeurIPS 2021 (agreement, KL to teacher)",
            "Zou and Donner, Statistics in Medicine 27 (2008) (adding variances of independent sources)",
        ),
        options=asdict(question),
    )
