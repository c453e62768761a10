"""For parts that still import it from here."""

from kdlens.memory import in_portions as in_portions
from kdlens.models.device import device_of as device_of
