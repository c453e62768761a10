"""Planted worlds: images in which it is known what a student can have from its teacher, and where."""

from kdlens.data.planted.cues import Cue
from kdlens.data.planted.images import PlantedImages
from kdlens.data.planted.worlds import CUES, WORLDS, World

__all__ = ["CUES", "WORLDS", "Cue", "PlantedImages", "World"]
