"""A user's mistake is one line and a non-zero exit, never a traceback."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """What is wrong (which file, key or column), what was expected and how to mend it, in one sentence."""


class BrokenDataError(UserError):
    """A partition that does not keep the contract: what is delivered is wrong, not the way to it."""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a command; print a `UserError` as one line on stderr and exit 1.

    In CI the line becomes an annotation, as does a crash's last one: there the verdict reads why a job failed.
    """
    try:
        main()
    except UserError as error:
        _say(str(error))
        sys.exit(1)
    except Exception as error:
        if os.environ.get("GITHUB_ACTIONS"):
            _say(f"{type(error).__name__}: {error}")
        raise
    sys.exit(0)


def _say(text: str) -> None:
    line = " ".join(text.split())
    annotated = os.environ.get("GITHUB_ACTIONS")
    print(f"::error::{line.replace('%', '%25')}" if annotated else f"error: {line}", file=sys.stderr)
