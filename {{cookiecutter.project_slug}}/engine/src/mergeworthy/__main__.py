"""`python -m mergeworthy` is `mergeworthy`."""

from .cli import main

main()
