"""What a question may ask of a study: its networks, its images, and what has been computed on them already.

A question never loads, moves or runs a network itself. It asks the context for logits, activations or images, and the
context sees to it that no image passes a network twice for the same purpose.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

from kdlens.answer import Answer
from kdlens.data.concepts.annotated import ConceptData
from kdlens.models.history import Checkpoint, History

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Subject:
    """One network of a study.

    Attributes:
        name: `"teacher"`, `"baseline"` or the student's name in the study.
        role: teacher, student or baseline.
        network: in eval mode, on the study's device, parameters frozen.
        layers: the layers to look at, first to last.
        seed: index among the networks of the same name (0 where there is one).
        history: checkpoints of its training, where the study names them.
    """

    name: str
    role: Literal["teacher", "student", "baseline"]
    network: nn.Module
    layers: tuple[str, ...]
    seed: int = 0
    history: History | None = None

    @property
    def label(self) -> str:
        """The name for people; the seed is told where it is not the first."""
        return self.name if self.seed == 0 else f"{self.name} (seed {self.seed})"


class Trio(NamedTuple):
    """A student, the baseline of the same seed, and the teacher where there is one."""

    teacher: Subject | None
    student: Subject
    baseline: Subject


class Batch(NamedTuple):
    """Images as the networks take them, `(n, C, H, W)`; labels `(n,)`; object masks `(n, H, W)` bool or None."""

    images: Tensor
    labels: Tensor
    masks: Tensor | None


class Context(Protocol):
    """What the study offers to its questions."""

    subjects: Sequence[Subject]
    class_names: Sequence[str]
    seed: int
    data_name: str

    @property
    def labels(self) -> Tensor:
        """Labels of all images, `(n,)` int64 on the CPU, in data order."""
        ...

    def trios(self) -> Iterator[Trio]:
        """Every student with its baseline: same seed index, or the only baseline."""
        ...

    def logits(self, subject: Subject) -> Tensor:
        """Logits on all images, `(n, classes)` float32 on the CPU, in data order. Computed once."""
        ...

    def activations(self, subject: Subject, indices: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Activations of the images `indices` at `layers`, float32 on the CPU, all layers in one forward pass.

        Token outputs come as the network gives them; see `kdlens.models.tokens` for their spatial form.
        """
        ...

    def batch(self, indices: Tensor) -> Batch:
        """The images `indices`, their labels and masks, on the CPU."""
        ...

    def display(self, images: Tensor) -> Tensor:
        """Network inputs `(n, C, H, W)` back to pictures, `(n, H, W, 3)` uint8."""
        ...

    def annotated(self) -> ConceptData | None:
        """The study's images in [0, 1] with concept labels, in data order; `None` where kdlens knows none of them.

        Raises:
            DataError: the dataset's folder lacks the annotations.
        """
        ...

    def scaled(self, images: Tensor) -> Tensor:
        """Images `(n, c, h, w)` in [0, 1], from elsewhere, as the networks take the study's: their size and scale.

        Raises:
            DataError: how the study's images were normalised is not known.
        """
        ...

    def draw(self, count: int, purpose: str) -> Tensor:
        """Indices of about `count` images, class-balanced, the same for the same study seed and purpose."""
        ...

    def run(self, subject: Subject, images: Tensor) -> Tensor:
        """Logits for images that are not in the data (changed ones), `(n, classes)` float32 on the CPU."""
        ...

    def activations_of(self, subject: Subject, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Activations at `layers` for images that are not in the data (changed ones), float32 on the CPU."""
        ...

    def through(
        self, subject: Subject, images: Tensor, function: Callable[[nn.Module, Tensor, Tensor], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Run `function(network, part of the images, positions of the part)` over images that may not be in the data.

        The function is given images on the network's device and may take gradients; what it returns is joined along the
        first axis, on the CPU, in order.
        """
        ...

    def once(self, function: Callable[[], T]) -> T:
        """What `function` returns on the first process, which alone calls it, on all of them.

        For what is decided on a few images and must be decided alike everywhere. Whatever it raises is raised on all.
        """
        ...

    def at(self, subject: Subject, checkpoint: Checkpoint) -> Subject:
        """The same subject with the weights of a checkpoint of its history, in a copy of its network.

        The study keeps one such copy at a time: let go of it before asking for the next.

        Raises:
            HistoryError: the checkpoint is of another network.
        """
        ...

    def progress(self, text: str) -> None:
        """Tell the person what is being done."""
        ...


class Question(Protocol):
    """A question: a dataclass whose fields are its options, and one method."""

    name: ClassVar[str]

    def answer(self, context: Context) -> Answer:
        """Compute the answer."""
        ...


def by_student(context: Context) -> list[list[Trio]]:
    """The trios of each student, in the order of the study."""
    groups: dict[str, list[Trio]] = {}
    for trio in context.trios():
        groups.setdefault(trio.student.name, []).append(trio)
    return list(groups.values())


def reference_size(classes: int) -> int:
    """Size of the reference set a study draws: at least 128 images and at least 8 of a class."""
    return max(128, 8 * classes)
