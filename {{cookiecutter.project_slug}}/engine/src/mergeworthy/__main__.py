"""Run the command line with `python -m mergeworthy`."""

from .cli import main

main()
