"""A user's mistake is one line and a non-zero exit, never a traceback; `run` is how every command begins."""

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
MARKERS = ("dvc.yaml", "infra.yaml", "gates.yaml", "params.yaml")  # lie in the project's folder, and none below it
# What a disk or its owner refuses: no fault of this program, so its trace tells nothing.
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT}


class UserError(Exception):
    """What is wrong (which file, key or column), what was expected and how to mend it, in one sentence."""


class BrokenDataError(UserError):
    """A partition that does not keep the contract: what is delivered is wrong, not the way to it."""


def run(main: Callable[[], None]) -> NoReturn:
    """Run a command in the project's folder, in UTF-8; print a `UserError` as one line on stderr and exit 1.

    In CI the line becomes an annotation, as does a crash's last one: there the verdict reads why a job failed.
    """
    _speak_utf8()
    try:
        _run(main)
    finally:
        _keep_line_start()


def _run(main: Callable[[], None]) -> NoReturn:
    try:
        if folder := project():
            os.chdir(folder)
        main()
    except UserError as error:
        if os.environ.get("TRACEBACK") and error.__cause__:
            traceback.print_exception(error.__cause__)
        _tell(str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)  # 128 and the number of Ctrl-C's signal
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REFUSED:
            _tell(f"{error.filename or Path.cwd()}: {error.strerror}: mend the disk or its permissions, run it again")
        elif os.environ.get("GITHUB_ACTIONS"):
            _tell(f"{type(error).__name__}: {error}")
            trace = "".join(traceback.format_exception(error)).splitlines()
            print(*map(inert, trace), sep="\n", file=sys.stderr)
        else:
            raise
        sys.exit(1)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        _tell(f"polars stopped: {error}")  # this is no `Exception`, and its trace is printed already
        sys.exit(1)
    sys.exit(0)


def _keep_line_start() -> None:
    """Keep colorama, which DVC loads, from writing an escape sequence at exit.

    On a terminal the next process's workflow command would not begin its line, and not be one.
    """
    if colorama := sys.modules.get("colorama.initialise"):
        atexit.unregister(colorama.reset_all)


def project() -> Path | None:
    """Return the folder of the project that the current one lies in, or None if it lies in none."""
    here = Path.cwd()
    folders = (here, *here.parents)
    return next((folder for folder in folders if any((folder / name).exists() for name in MARKERS)), None)


def _speak_utf8() -> None:
    """Start Python anew in UTF-8 mode if the locale or a variable asks for another encoding: all files are UTF-8.

    Under `make` there is nothing to do, for it sets PYTHONUTF8.
    """
    streams = os.environ.get("PYTHONIOENCODING", "utf-8").partition(":")[0].lower()
    if streams in UTF8 and (sys.flags.utf8_mode or locale.getencoding().lower() in UTF8):
        return
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}
    environment["PYTHONUTF8"] = "1"  # for what this starts
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)  # noqa: S606


def _tell(text: str) -> None:
    print(annotation("error", text) if os.environ.get("GITHUB_ACTIONS") else f"error: {logged(text)}", file=sys.stderr)
