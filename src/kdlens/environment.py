"""What a result was made with: versions, machine and command, for the run folder and the foot of the report."""

import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kdlens._version import __version__

PACKAGES = ("torch", "numpy", "accelerate", "torchvision", "timm")


def environment(*, device: str, processes: int) -> dict[str, str]:
    """Return names and values a person needs to make the same numbers again.

    Example:
        >>> environment(device="cpu", processes=1)["processes"]
        '1'
    """
    import torch

    return {
        "kdlens": __version__,
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "processes": str(processes),
        "threads": str(torch.get_num_threads()),
    }


def command_line() -> str:
    """The command as a person would type it again; a path to the program is cut to its name."""
    program, *arguments = sys.argv
    name = "kdlens" if program.endswith("__main__.py") else Path(program).name or "python"
    home = os.path.expanduser("~")
    return shlex.join([name, *(argument.replace(home, "~") for argument in arguments)])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
