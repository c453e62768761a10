"""What is wrong with an option is said once, from Python and from a study file alike."""

import pytest

from kdlens.errors import KdlensError
from kdlens.questions import QUESTIONS
from kdlens.questions.making import make_question

WRONG = [
    ("accuracy", {"margin": -1.0}, "margin must be 0 or more, got -1.0"),
    ("accuracy", {"bins": 0}, "bins must be 1 or more, got 0"),
    ("unicam", {"gallery": -1}, "gallery must be 0 or more, got -1"),
    ("unicam", {"images": 3}, "images must be 4 or more, got 3"),
    ("unicam", {"draws": 0}, "draws must be 1 or more, got 0"),
    ("unicam", {"protocol": "paper"}, 'unknown protocol "paper". Known: joint, published'),
    ("relevance", {"images": 3}, "images must be 4 or more, got 3"),
    ("relevance", {"percentile": 0.0}, "percentile is the share of pixels kept, above 0 and up to 100, got 0.0"),
    ("relevance", {"mini_batch": 3}, "mini-batches need at least 4 images, got 3"),
    ("relevance", {"permutations": -1}, "permutations must be 0 or more, got -1"),
    ("class_similarity", {"margin": -1.0}, "margin must be 0 or more, got -1.0"),
    ("class_similarity", {"temperature": 0.0}, "temperature must be above 0 and finite, got 0.0"),
    ("reliance", {"images": 1}, "images must be 2 or more, got 1"),
    *(
        (question, options, text)
        for question in ("knowledge", "dynamics")
        for options, text in (
            ({"images": 1}, "images must be 2 or more, got 1"),
            ({"grid": 1}, 'grid must be 2 or more cells a side, or "auto", got 1'),
            ({"threshold": -0.1}, "threshold must be 0 or more, got -0.1"),
            ({"gallery": -1}, "gallery must be 0 or more, got -1"),
            ({"probes": 7}, "probes must be 8 or more, got 7"),
        )
    ),
]
WORDS = {
    "unicam": ("features", "attribution"),
    "relevance": ("statistic", "aggregate", "conditioned", "maps"),
    "reliance": ("fill",),
    "class_similarity": ("of", "over", "base"),
    "knowledge": ("protocol", "backend", "background", "foreground"),
    "dynamics": ("protocol", "backend", "background", "foreground", "path"),
}


@pytest.mark.parametrize(("question", "options", "text"), WRONG)
def test_the_question_is_named_once(question, options, text):
    with pytest.raises(KdlensError) as of_python:
        QUESTIONS[question](**options)
    with pytest.raises(KdlensError) as of_file:
        make_question({question: options})
    assert str(of_python.value) == text
    assert str(of_file.value) == f'question "{question}": {text}'
    assert type(of_file.value) is type(of_python.value)


@pytest.mark.parametrize(("question", "option"), [(name, option) for name, of in WORDS.items() for option in of])
def test_unknown_words_are_told_with_the_known_ones(question, option):
    with pytest.raises(KdlensError, match=rf'^{option} must be "[a-z_-]+".* or "[a-z_-]+", not "nonsense"$'):
        QUESTIONS[question](**{option: "nonsense"})
    with pytest.raises(KdlensError, match=f'^question "{question}", option "{option}": expected '):
        make_question({question: {option: "nonsense"}})


def test_what_is_no_number_is_refused_in_python_too():
    with pytest.raises(KdlensError, match=r"^images must be 2 or more, got 'many'$"):
        QUESTIONS["knowledge"](images="many")
    with pytest.raises(KdlensError, match=r"^margin must be 0 or more, got nan$"):
        QUESTIONS["accuracy"](margin=float("nan"))
