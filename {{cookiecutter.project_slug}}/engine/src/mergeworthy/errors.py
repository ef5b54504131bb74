"""Errors of the user, and `run`, with which every command begins: a user's mistake is one line, never a traceback.

Other modules derive further classes from `UserError`, if a caller has to tell one cause from another.
"""

import atexit
import errno
import locale
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from .text import annotation, inert, logged

UTF8 = ("utf-8", "utf8")
MARKERS = ("dvc.yaml", "infra.yaml", "gates.yaml", "params.yaml")  # files of the project's folder, and of none below it
# Errors of the disk or of permissions: the cause is not in this program, so a traceback is of no use.
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


class UserError(Exception):
    """One sentence: what is wrong (file, key or column), what was expected, and how to fix it."""


class BrokenDataError(UserError):
    """A partition violates the data contract: the source answers, but delivers wrong data."""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a command in the project's folder, in UTF-8; print a `UserError` as one line on stderr and exit 1.

    In CI the line becomes an annotation, and so does the last line of a crash, because the required check reads from
    there why a job failed.
    """
    _ensure_utf8()
    try:
        _run(main)
    finally:
        _silence_colorama()


def _run(main: Callable[[], None]) -> NoReturn:
    try:
        if folder := project():
            os.chdir(folder)
        main()
    except UserError as error:
        if os.environ.get("TRACEBACK") and error.__cause__:
            traceback.print_exception(error.__cause__)
        _print_error(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)  # 128 and the number of Ctrl-C's signal
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSED:
            _print_error(
                f"{error.filename or Path.cwd()}: {error.strerror}: fix the disk or its permissions, and run it again"
            )
        elif os.environ.get("GITHUB_ACTIONS"):
            _print_error(f"{type(error).__name__}: {error}")
            trace = "".join(traceback.format_exception(error)).splitlines()
            print(*map(inert, trace), sep="\n", file=sys.stderr)
        else:
            raise
        sys.exit(1)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        _print_error(f"polars stopped: {error}")  # not an `Exception`, and polars has printed its trace
        sys.exit(1)
    sys.exit(0)


def _silence_colorama() -> None:
    """Keep colorama, which DVC imports, from writing an escape sequence at exit.

    The runner does not recognise the workflow command of the next process if its line begins with one.
    """
    if colorama := sys.modules.get("colorama.initialise"):
        atexit.unregister(colorama.reset_all)


def project() -> Path | None:
    """Return the project's folder, which is the current one or one above it; None if there is none."""
    folders = (Path.cwd(), *Path.cwd().parents)
    return next((folder for folder in folders if any((folder / name).exists() for name in MARKERS)), None)


def _ensure_utf8() -> None:
    """Restart Python in UTF-8 mode if the locale or a variable sets another encoding, because all files are UTF-8.

    The Makefile sets PYTHONUTF8, so nothing happens under `make`.
    """
    streams = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")[0].lower()
    if streams in UTF8 and (sys.flags.utf8_mode or locale.getencoding().lower() in UTF8):
        return
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}
    environment["PYTHONUTF8"] = "1"  # for child processes
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)  # noqa: S606


def _print_error(text: str) -> None:
    print(annotation("error", text) if os.environ.get("GITHUB_ACTIONS") else f"error: {logged(text)}", file=sys.stderr)
