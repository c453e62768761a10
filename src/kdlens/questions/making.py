"""Questions from what a person wrote: a name, or a name with options."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from kdlens.config import Question, plain_problem, question_options
from kdlens.errors import ConfigError, UnknownNameError, did_you_mean
from kdlens.questions import QUESTIONS


def make_questions(entries: Sequence[Question]) -> list[Any]:
    """Build the questions of a study.

    Raises:
        UnknownNameError: no such question.
        ConfigError: none, one asked twice, or an option that is unknown or of a wrong kind.

    Example:
        >>> [question.name for question in make_questions(["accuracy", {"unicam": {"gallery": 8}}])]
        ['accuracy', 'unicam']
    """
    if isinstance(entries, str):
        raise ConfigError(f'questions must be a list of names, e.g. ["{entries}"], not the text "{entries}"')
    made = [make_question(entry) for entry in entries]
    if not made:
        raise ConfigError(f"a study asks at least one question; known are {', '.join(QUESTIONS.names())}")
    names = [question.name for question in made]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f'question "{twice[0]}" is asked twice; ask it once, with the options you want')
    return made


def make_question(entry: Question) -> Any:
    """Build a question from its name, or from `{name: options}`.

    Raises:
        UnknownNameError: no such question, or an option that names what there is not.
        ConfigError: an option it does not have, or of a wrong kind.

    Example:
        >>> make_question({"unicam": {"gallery": 8}}).gallery
        8
    """
    name, options = _parts(entry)
    kind = QUESTIONS[name]
    known = [field.name for field in fields(kind)] if is_dataclass(kind) else []
    for option in options:
        if option not in known:
            raise ConfigError(f'question "{name}" has no option "{option}"{did_you_mean(str(option), known)}')
    return _checked(kind, name, options) if options else kind()


def _parts(entry: Any) -> tuple[str, dict[str, Any]]:
    whole = isinstance(entry, str) or (isinstance(entry, dict) and len(entry) == 1)
    name, options = question_options(entry) if whole else (None, {})
    if not isinstance(name, str):
        raise ConfigError(f"a question is a name or {{name: options}}, got {entry!r:.80}")
    return name, options


def _checked(kind: Any, name: str, options: dict[str, Any]) -> Any:
    """The question, with its options checked against the types it declares."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(options)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        option = f', option "{problem["loc"][0]}"' if problem["loc"] else ""
        raise ConfigError(f'question "{name}"{option}: {plain_problem(problem)}') from error
    except UnknownNameError as error:
        raise UnknownNameError(f'question "{name}": {error}') from error
