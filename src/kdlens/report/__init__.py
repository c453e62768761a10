"""Answers to figures to one HTML page. Nothing is computed here that an answer does not hold already."""

from kdlens.report.document import Report
from kdlens.report.meta import DataCard, Meta, ModelCard

__all__ = ["DataCard", "Meta", "ModelCard", "Report"]
