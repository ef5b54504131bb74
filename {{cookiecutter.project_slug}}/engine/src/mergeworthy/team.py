"""Errors of the team's own code: what it raises becomes one line that names its file, line and function."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import REFUSED, UserError

LONGEST = 300  # characters of an error's own words that are shown


def name(function: Any) -> str:
    """Return a function's full name, such as ml.features.build_features."""
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"


@contextmanager
def running(function: Any) -> Iterator[None]:
    """Turn an exception of the team's `function` into a `UserError`, even if polars evaluates its result only later.

    The line names the last call within the team's package. The exception stays the cause of the `UserError`, and
    TRACEBACK=1 prints it.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if _refused(error):
            raise
        package = str(getattr(function, "__module__", "")).partition(".")[0]
        where = _last_call(error, package) or f"{_file(function)}what {name(function)} returns"
        raise UserError(f"{where}: {words(error)}") from error


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Turn an exception that the import of the team's `module` raises into a `UserError` that names file and line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        where = _last_call(error, module.partition(".")[0])
        if isinstance(error, SyntaxError) and error.filename:
            where = f"{_shown(error.filename)}, line {error.lineno}"
        raise UserError(f"{where or module}: {words(error)}") from error


def words(error: Exception) -> str:
    """Return type and first line of an exception."""
    said = " ".join((str(error).strip().splitlines() or [""])[0].split())
    if isinstance(error, SyntaxError):
        said = error.msg
    if len(said) > LONGEST:
        said = f"{said[:LONGEST]}…"
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _refused(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in REFUSED  # a full disk is no fault of the team's code


def _last_call(error: Exception, package: str) -> str | None:
    """Return file, line and function of the last call within `package`, or None if the exception passed none."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
            function = frame.f_code.co_qualname if frame.f_code.co_name != "<module>" else ""
            found = f"{_shown(frame.f_code.co_filename)}, line {line}{f', in {function}' if function else ''}"
    return found


def _file(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return f"{_shown(code.co_filename)}, line {code.co_firstlineno}: " if code else ""


def _shown(file: str) -> str:
    path = Path(file)
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else file
