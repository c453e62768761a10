"""The categories of classes within which entropies are taken: a person's, a dataset's, or the teacher's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from kdlens.data.superclasses import CIFAR100_GROUPS, normal_name
from kdlens.errors import ConfigError, did_you_mean
from kdlens.questions.class_similarity.clustering import groups_of

Given = str | Mapping[str, str] | Sequence[Sequence[str]]
WORDS = ("auto", "teacher", "cifar100", "all")


@dataclass(frozen=True)
class Categories:
    """Categories of classes.

    Attributes:
        members: class numbers of every category.
        names: their names.
        source: whose they are, as in `WORDS` or `"given"`.
    """

    members: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    source: str

    def named(self, classes: Sequence[str]) -> dict[str, list[str]]:
        """Every category with its classes, for people."""
        return {name: [classes[k] for k in m] for name, m in zip(self.names, self.members, strict=True)}

    def number(self, classes: int) -> list[int]:
        """The category of each class; -1 for none."""
        found = [-1] * classes
        for place, group in enumerate(self.members):
            for k in group:
                found[k] = place
        return found


def check_given(given: Given) -> None:
    """Refuse a word that is none of the known ones.

    Raises:
        ConfigError: with the known words.
    """
    if isinstance(given, str) and given not in WORDS:
        known = ", ".join(f'"{word}"' for word in WORDS)
        raise ConfigError(f'groups must be {known}, a class: category table, or lists of class names, not "{given}"')


def source_of(given: Given, classes: Sequence[str], *, teacher: bool) -> str:
    """Whose categories are to be taken; `"auto"` is CIFAR-100's where the classes are, else the teacher's, else all.

    Raises:
        ConfigError: the teacher's without a teacher, or CIFAR-100's for other classes.

    Example:
        >>> source_of("auto", ["Shirt", "Coat", "Bag"], teacher=True)
        'teacher'
    """
    if not isinstance(given, str):
        return "given"
    is_cifar = {normal_name(name) for name in classes} == {k for group in CIFAR100_GROUPS.values() for k in group}
    if given == "cifar100" and not is_cifar:
        raise ConfigError('groups: "cifar100" needs the 100 classes of CIFAR-100; the data has others')
    if given == "teacher" and not teacher:
        raise ConfigError('groups: "teacher" needs a teacher in the study; give the categories, or "all"')
    return given if given != "auto" else "cifar100" if is_cifar else "teacher" if teacher else "all"


def categories_of(given: Given, classes: Sequence[str], similarity: Float[Tensor, "k k"] | None) -> Categories:
    """The categories that were asked for.

    Args:
        given: see `ClassSimilarity.groups`.
        classes: names.
        similarity: the teacher's matrix, on images that are not those the entropies are taken of; `None` without one.

    Raises:
        ConfigError: as `source_of`; classes that the data has not, or that stand in two categories.
    """
    source = source_of(given, classes, teacher=similarity is not None)
    if source == "all":
        return Categories((tuple(range(len(classes))),), ("all classes",), source)
    if source == "teacher" and similarity is not None:
        groups = groups_of(similarity)[0]
        members = tuple(tuple((groups == g).nonzero().flatten().tolist()) for g in range(int(groups.max()) + 1))
        return Categories(members, tuple(f"group {g + 1}" for g in range(len(members))), source)
    if source == "cifar100":
        places = {normal_name(name): k for k, name in enumerate(classes)}
        members = tuple(tuple(places[name] for name in group) for group in CIFAR100_GROUPS.values())
        return Categories(members, tuple(CIFAR100_GROUPS), source)
    return _given(given, classes)


def _given(given: Given, classes: Sequence[str]) -> Categories:
    """Categories as a person wrote them down; a name that several classes have stands for all of them."""
    if isinstance(given, Mapping):
        table: dict[str, list[str]] = {}
        for name, group in given.items():
            table.setdefault(group, []).append(name)
    else:
        table = {f"group {place + 1}": list(group) for place, group in enumerate(given)}
    places: dict[str, list[int]] = {}
    for k, name in enumerate(classes):
        places.setdefault(name, []).append(k)
    every = [name for group in table.values() for name in group]
    for name in every:
        if name not in places:
            raise ConfigError(f'groups: the data has no class "{name}"{did_you_mean(name, list(places))}')
        if every.count(name) > 1:
            raise ConfigError(f'groups: class "{name}" stands in more than one category; name it once')
    members = tuple(tuple(k for name in group for k in places[name]) for group in table.values())
    return Categories(members, tuple(table), "given")


def two_halves(labels: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
    """Two disjoint halves of the images, of every class half; of an odd number the second has one more.

    Example:
        >>> first, second = two_halves(torch.tensor([0, 0, 0, 1, 1]), seed=0)
        >>> len(first), len(second), sorted(torch.cat([first, second]).tolist())
        (2, 3, [0, 1, 2, 3, 4])
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = [], []
    for k in labels.unique().tolist():
        of_class = (labels == k).nonzero().flatten()
        of_class = of_class[torch.randperm(len(of_class), generator=generator)]
        first.append(of_class[: len(of_class) // 2])
        second.append(of_class[len(of_class) // 2 :])
    return torch.cat(first).sort().values, torch.cat(second).sort().values
