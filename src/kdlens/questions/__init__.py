"""One file per question. A new question is one file and one line here."""

from typing import Any

from kdlens.registry import Registry

QUESTIONS: Registry[Any] = Registry(
    "question",
    {
        "accuracy": "kdlens.questions.accuracy.question:Accuracy",
        "class_similarity": "kdlens.questions.class_similarity.question:ClassSimilarity",
        "conflict": "kdlens.questions.conflict.question:Conflict",
        "dissection": "kdlens.questions.dissection.question:DissectionQuestion",
        "dynamics": "kdlens.questions.dynamics.question:Dynamics",
        "knowledge": "kdlens.questions.knowledge.question:Knowledge",
        "reliance": "kdlens.questions.reliance.question:Reliance",
        "relevance": "kdlens.questions.relevance.question:RelevanceQuestion",
        "unicam": "kdlens.questions.unicam.question:UniCAMQuestion",
    },
    group="kdlens.questions",
)
