"""One file per question. A new question is one file and one line here."""

from typing import Any

from kdlens.registry import Registry

QUESTIONS: Registry[Any] = Registry(
    "question",
    {
        "accuracy": "kdlens.explain.accuracy:Accuracy",
        "reliance": "kdlens.explain.reliance:Reliance",
        "relevance": "kdlens.explain.relevance_question:RelevanceQuestion",
        "unicam": "kdlens.explain.unicam_question:UniCAMQuestion",
    },
    group="kdlens.questions",
)
