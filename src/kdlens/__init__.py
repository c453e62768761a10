"""kdlens: see what your student learned.

Every public name is imported when it is first used, so `import kdlens` costs almost nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

from kdlens._version import __version__ as __version__

if TYPE_CHECKING:
    from kdlens import measures as measures
    from kdlens import nn as nn
    from kdlens import stats as stats
    from kdlens.answer import Answer as Answer
    from kdlens.checks import doctor as doctor
    from kdlens.data import load_dataset as load_dataset
    from kdlens.data.concepts import load_concepts as load_concepts
    from kdlens.data.images import Images as Images
    from kdlens.errors import KdlensError as KdlensError
    from kdlens.models.layers import auto_layers as auto_layers
    from kdlens.models.load import load_model as load_model
    from kdlens.models.taps import Recorder as Recorder
    from kdlens.models.weights import load_weights as load_weights
    from kdlens.models.weights import save_weights as save_weights
    from kdlens.questions.class_similarity.similarity import class_similarity as class_similarity
    from kdlens.questions.conflict.gradients import gradient_conflict as gradient_conflict
    from kdlens.questions.discarding.discarding import information_discarding as information_discarding
    from kdlens.questions.dissection.dissect import dissect as dissect
    from kdlens.questions.dynamics.dynamics import learning_dynamics as learning_dynamics
    from kdlens.questions.knowledge.points import knowledge_points as knowledge_points
    from kdlens.questions.relevance.relevance import feature_similarity as feature_similarity
    from kdlens.questions.relevance.relevance import relevance as relevance
    from kdlens.questions.unicam.unicam import unicam as unicam
    from kdlens.report import Report as Report
    from kdlens.study import explain as explain
    from kdlens.training.api import distill as distill

_PUBLIC = {
    "Answer": "kdlens.answer",
    "Images": "kdlens.data.images",
    "KdlensError": "kdlens.errors",
    "Recorder": "kdlens.models.taps",
    "Report": "kdlens.report",
    "auto_layers": "kdlens.models.layers",
    "class_similarity": "kdlens.questions.class_similarity.similarity",
    "dissect": "kdlens.questions.dissection.dissect",
    "distill": "kdlens.training.api",
    "doctor": "kdlens.checks",
    "explain": "kdlens.study",
    "feature_similarity": "kdlens.questions.relevance.relevance",
    "gradient_conflict": "kdlens.questions.conflict.gradients",
    "information_discarding": "kdlens.questions.discarding.discarding",
    "knowledge_points": "kdlens.questions.knowledge.points",
    "learning_dynamics": "kdlens.questions.dynamics.dynamics",
    "load_concepts": "kdlens.data.concepts",
    "load_dataset": "kdlens.data",
    "load_model": "kdlens.models.load",
    "load_weights": "kdlens.models.weights",
    "measures": "",
    "nn": "",
    "relevance": "kdlens.questions.relevance.relevance",
    "save_weights": "kdlens.models.weights",
    "stats": "",
    "unicam": "kdlens.questions.unicam.unicam",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604 - the table above is the one list of public names


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'kdlens' has no attribute {name!r}")
    module = importlib.import_module(_PUBLIC[name] or f"kdlens.{name}")
    value = getattr(module, name) if _PUBLIC[name] else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
