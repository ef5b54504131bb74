"""DVC by its command line: one call, one answer or one sentence."""

import os
import re
import subprocess
import sys

from ..errors import UserError

BUSY = re.compile(r"is busy|unable to acquire lock|rwlock", re.IGNORECASE)


class DvcError(UserError):
    """A command of DVC's failed, in DVC's own words."""


def dvc(*arguments: str) -> str:
    """Run `dvc <arguments>` and give what it prints; raise `DvcError` if it fails, `UserError` if another dvc runs."""
    # Not --quiet: that hides the errors too.
    command, environment = [sys.executable, "-m", "dvc", *arguments], os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode == 0:
        return done.stdout
    if BUSY.search(done.stderr):
        raise UserError(
            "another dvc command is running in this folder: wait for it, or delete .dvc/tmp/rwlock if there is none"
        )
    told = re.findall(r"^ERROR: (.*)", done.stderr, re.MULTILINE) or done.stderr.strip().splitlines() or ["no reason"]
    hint = ": run `git init` first" if "not a git repository" in told[-1] else ""
    raise DvcError(f"dvc {arguments[0]} failed: {told[-1]}{hint}")
