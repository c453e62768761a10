"""`python -m kdlens`."""

from kdlens.cli import main

main()
