"""kdlens: see what your student learned."""

from kdlens._version import __version__ as __version__
