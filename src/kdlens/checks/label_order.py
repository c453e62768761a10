"""Do a network's outputs stand in the order of the data's classes?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from kdlens.checks.assignment import best_assignment
from kdlens.checks.diagnosis import Check, together
from kdlens.checks.patient import Patient
from kdlens.questions.phrases import counted, listed, number, p_value, quoted
from kdlens.stats.resampling import mcnemar

LEAST_GAIN = 0.1
SURE = 0.01


@dataclass(frozen=True)
class Order:
    """How well outputs fit the classes as they stand, and after the best exchange.

    Attributes:
        given: share right as they stand.
        exchanged: share right with outputs exchanged, on images that did not choose the exchange.
        p: exact McNemar p-value of the difference.
        classes: the class that each output answers to.
        seen: outputs for which there are images to tell.
    """

    given: float
    exchanged: float
    p: float
    classes: Int[Tensor, " k"]
    seen: Bool[Tensor, " k"]

    @property
    def gain(self) -> float:
        """What exchanging outputs gains, in points."""
        return 100 * (self.exchanged - self.given)

    @property
    def wrong(self) -> bool:
        """Whether exchanging outputs helps clearly."""
        return self.exchanged - self.given >= LEAST_GAIN and self.p < SURE


def order_of_outputs(logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"]) -> Order:
    """Find the exchange of outputs that names most images right.

    The exchange is chosen on one half of the images and judged on the other, and the reverse: with many classes the
    best of all exchanges looks good on its own images even for a network that guesses.

    Example:
        >>> labels = torch.arange(60) % 3
        >>> turned = torch.eye(3)[(labels + 1) % 3]
        >>> found = order_of_outputs(turned, labels)
        >>> found.given, found.exchanged, found.classes.tolist(), found.wrong
        (0.0, 1.0, [2, 0, 1], True)
    """
    k = logits.shape[1]
    predicted = logits.argmax(1)
    half = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        half[(labels == label).nonzero().flatten()[::2]] = True
    exchanged = torch.zeros(len(labels), dtype=torch.bool)
    for learn in (half, ~half):
        classes = best_assignment(_counts(predicted[learn], labels[learn], k))
        exchanged[~learn] = classes[predicted[~learn]] == labels[~learn]
    given = predicted == labels
    counts = _counts(predicted, labels, k)
    return Order(
        given=given.double().mean().item(),
        exchanged=exchanged.double().mean().item(),
        p=mcnemar(int((given & ~exchanged).sum()), int((exchanged & ~given).sum())),
        classes=best_assignment(counts),
        seen=counts.sum(1) >= 1,
    )


def label_order(patient: Patient) -> Check:
    """Outputs in another order than the classes: a head from another data set, or classes sorted in another way."""
    name = "label order"
    orders = {role: order_of_outputs(patient.logits(role), patient.y) for role in patient.usable()}
    n = counted(len(patient.y), "image")
    if not any(order.wrong for order in orders.values()):
        gain = max(order.gain for order in orders.values())
        return Check(name, "ok", f"No exchange of outputs fits the labels clearly better ({n}).", value=gain)
    found = []
    for role, order in orders.items():
        if order.wrong:
            message = (
                f"The {role}'s outputs stand in another order than the classes: {number(100 * order.given)} % right as "
                f"they stand, {number(100 * order.exchanged)} % when {_told(order, patient.images.classes)} "
                f"({n}, judged on the half that did not choose the exchange, {p_value(order.p)})."
            )
            advice = f"Give the classes in the order in which the {role} was trained, or reorder its last layer."
            found.append(Check(name, "fail", message, advice, order.gain))
    return together(found)


def _told(order: Order, names: Sequence[str]) -> str:
    k = len(order.classes)
    moved = [i for i in range(k) if bool(order.seen[i]) and int(order.classes[i]) != i]
    shifts = {(int(order.classes[i]) - i) % k for i in moved}
    if len(shifts) == 1 and len(moved) > 2:
        return f"every output is taken for the class {counted(min(shifts.pop(), k), 'place')} further"
    pairs = [
        f"output {i} is taken for class {int(order.classes[i])} ({quoted(names[int(order.classes[i])])})" for i in moved
    ]
    return listed(pairs, most=3)


def _counts(predicted: Tensor, labels: Tensor, k: int) -> Float[Tensor, "k k"]:
    """Images by prediction (row) and label (column)."""
    return torch.bincount(predicted * k + labels, minlength=k * k).reshape(k, k).double()
