"""A user's mistake is one line and a non-zero exit, never a traceback."""

import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """What is wrong (which file, key or column), what was expected and how to mend it, in one sentence."""


class BrokenDataError(UserError):
    """A partition that does not keep the contract: what is delivered is wrong, not the way to it."""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a command; print a `UserError` as one line on stderr and exit 1."""
    try:
        main()
    except UserError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
