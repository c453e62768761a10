"""Self-distillation over generations (born-again networks, Furlanello et al., ICML 2018).

Generation 0 learns from the labels; every next one starts anew and learns from labels and from the generation before.
"""

import copy

from torch import nn

from kdlens.errors import ModelError
from kdlens.training.launch import Launch
from kdlens.training.losses.labels import Labels
from kdlens.training.losses.self_distillation import SelfDistillation
from kdlens.training.randomness import derive
from kdlens.training.result import TrainResult


def train_generations(
    launch: Launch,
    student: nn.Module,
    loss: SelfDistillation,
    *,
    teacher: nn.Module | None = None,
) -> TrainResult:
    """Train the generations, the last one in `student` itself.

    Every generation sees the images in an order of its own. Without `loss.rebuild` all start from the weights `student`
    has now; published are fresh weights for every generation, which a network object alone cannot provide.

    Args:
        launch: the training; earlier generations go to `earlier/generation-K` in its folder.
        student: the network; trained in place.
        loss: the method with its options.
        teacher: a trained network of the student's architecture to start from instead of generation 0.

    Raises:
        ModelError: the teacher is of another architecture.
    """
    if teacher is not None:
        check_same_architecture(teacher, student)
    start = copy.deepcopy(student)
    earlier: list[TrainResult] = []
    for generation in range(0 if teacher is None else 1, loss.generations):
        network = copy.deepcopy(start) if loss.rebuild is None else loss.rebuild(generation)
        method = SelfDistillation(**loss.options) if teacher is not None else Labels()
        seed = derive(launch.settings.seed, "generation", generation)
        earlier.append(launch.earlier(f"generation-{generation}", seed=seed).train(teacher, network, method))
        teacher = network
    result = launch.train(teacher, student, loss)
    return TrainResult(student, result.history, result.folder, result.path_lengths, loss, (*earlier, *result.earlier))


def check_same_architecture(teacher: nn.Module, student: nn.Module) -> None:
    """Raise `ModelError` unless both networks have the same parameters and buffers by name and shape."""
    mine, theirs = ({name: tuple(t.shape) for name, t in n.state_dict().items()} for n in (student, teacher))
    for name in dict.fromkeys([*mine, *theirs]):
        if mine.get(name) != theirs.get(name):
            raise ModelError(
                f'self-distillation needs a teacher of the student\'s architecture; "{name}" has shape '
                f"{theirs.get(name)} in the teacher and {mine.get(name)} in the student; use kd for other teachers"
            )
