"""Superclasses that come with a dataset or from a person, to hold the grouping of a mixture of experts against."""

from collections.abc import Mapping, Sequence

from kdlens.data.superclasses import CIFAR100_GROUPS, normal_name
from kdlens.errors import ConfigError
from kdlens.questions.class_similarity.categories import Categories, Given, categories_of

CIFAR10_GROUPS = {
    "animals": ("bird", "cat", "deer", "dog", "frog", "horse"),
    "vehicles": ("airplane", "automobile", "ship", "truck"),
}
"""The split of CIFAR-10 that Xue et al. (KDExplainer, IJCAI 2021) look for in their trees."""

WORDS = ("auto", "none")


def superclasses_of(given: Given, classes: Sequence[str]) -> Categories | None:
    """The superclasses asked for; `"auto"`: those of CIFAR-100 or CIFAR-10 where the classes are theirs, else none.

    Args:
        given: `"auto"`, `"none"`, a class: superclass table, or lists of class names.
        classes: names of the data's classes.

    Raises:
        ConfigError: another word, or classes that the data has not.

    Example:
        >>> superclasses_of([["cat", "dog"], ["car", "bus"]], ["cat", "car", "dog", "bus"]).members
        ((0, 2), (1, 3))
        >>> superclasses_of("auto", ["cat", "dog"]) is None
        True
    """
    if given == "none":
        return None
    if not isinstance(given, str):
        return categories_of(given, classes, None)
    check_word(given)
    found = {normal_name(name): name for name in classes}
    for groups in (CIFAR100_GROUPS, CIFAR10_GROUPS):
        if set(found) == {name for group in groups.values() for name in group}:
            table = {found[name]: group for group, names in groups.items() for name in names}
            return categories_of(table, classes, None)
    return None


def check_word(given: object) -> None:
    """Refuse a word that is none of the known ones.

    Raises:
        ConfigError: with the known words.
    """
    if isinstance(given, str) and given not in WORDS:
        known = " or ".join(f'"{word}"' for word in WORDS)
        raise ConfigError(f'groups must be {known}, a class: superclass table, or lists of class names, not "{given}"')
    if not isinstance(given, str | Mapping | Sequence):
        raise ConfigError(f"groups must be a table or lists of class names, got {given!r:.80}")
