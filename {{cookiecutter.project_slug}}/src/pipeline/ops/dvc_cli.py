"""DVC by its command line: one call, one answer or one sentence, and no remote that is waited for without end."""

import json
import os
import re
import sys

from ..errors import UserError
from .doctor import probe
from .outside import Deadline, call, local
from .tracking.server import shown

BUSY = re.compile(r"is busy|unable to acquire lock|rwlock", re.IGNORECASE)
QUIET = {"DVC_NO_ANALYTICS": "1"}
TRANSFERS = ("fetch", "pull", "push")


class DvcError(UserError):
    """A command of DVC's failed, in DVC's own words; or the remote does not answer."""


def dvc(*arguments: str) -> str:
    """Run DVC and return what it prints; raise `DvcError` if it fails, `UserError` if another dvc runs here."""
    if arguments[0] in TRANSFERS:
        reach()
    # Not --quiet: that hides the errors too.
    done = call([sys.executable, "-m", "dvc", *arguments], _who(), Deadline.TRANSFER, environment=QUIET)
    if done.returncode == 0:
        return done.stdout
    if BUSY.search(done.stderr):
        raise UserError(
            "another dvc command is running in this folder: wait for it, or delete .dvc/tmp/rwlock if there is none"
        )
    told = re.findall(r"^ERROR: (.*)", done.stderr, re.MULTILINE) or done.stderr.strip().splitlines() or ["no reason"]
    hint = ": run `git init` first" if "not a git repository" in told[-1] else ""
    raise DvcError(f"dvc {arguments[0]} failed: {told[-1]}{hint}")


def show(arguments: list[str]) -> int:
    """Run DVC with all that it says in sight, if the remote answers; return its exit status.

    A training has no deadline: for `repro`, DVC takes the place of this process.
    """
    reach()
    command = [sys.executable, "-m", "dvc", *arguments]
    if arguments[0] not in TRANSFERS:
        os.execve(sys.executable, command, os.environ | QUIET)  # noqa: S606
    return call(command, _who(), Deadline.TRANSFER, environment=QUIET, shown=True).returncode


def push() -> None:
    """Store data, models and run cache in the remote; raise `UserError` naming what neither it nor this machine has."""
    if show(["push", "--run-cache"]):
        raise DvcError("dvc push failed, for the reason that stands above")
    lost = sorted(name for name, state in json.loads(dvc("status", "--cloud", "--json")).items() if state == "missing")
    if lost:
        more = f" and {len(lost) - 1} more" if lost[1:] else ""
        raise UserError(
            f"{lost[0]}{more}: neither DVC's cache nor the remote has what dvc.lock and data.dvc record, so nobody can "
            "get it back from there: run `make data pipeline push` to make it anew"
        )


def reach() -> None:
    """Raise `DvcError` if the default remote is a server that does not answer; what else is wrong, DVC says itself."""
    address = _address()
    if address is None or local(address):
        return
    try:
        call([sys.executable, "-P", probe.__file__, "look"], _who(), Deadline.ANSWER, environment=QUIET)
    except UserError as error:
        raise DvcError(str(error)) from None


def _who() -> str:
    return f"the DVC remote {shown(_address() or '')}".strip()


def _address() -> str | None:
    """Return the default remote's address, or None if there is none."""
    from dvc.config import Config, ConfigError

    try:
        config = Config.from_cwd(validate=False)
        found: str | None = config["remote"][config["core"]["remote"]]["url"]
    except (KeyError, ConfigError):
        return None
    return found
