"""docker, podman or buildah: whichever is there."""

import shutil
from contextlib import suppress

from .. import process as outside
from ..errors import UserError
from ..process import Deadline

BUILDERS, RUNNERS = ("docker", "podman", "buildah"), ("docker", "podman")


def engine(choice: tuple[str, ...] = BUILDERS) -> str:
    """Give the first of these programs that answers; raise `UserError` where none does."""
    for name in choice:
        # A docker without its daemon is no engine.
        with suppress(UserError):  # one that hangs is no engine either
            if shutil.which(name) and outside.call([name, "version"], name, Deadline.ANSWER).returncode == 0:
                return name
    raise UserError(f"no container engine answers: install one of {', '.join(choice)}, or start its daemon")


def call(*command: str, check: bool = True, deadline: Deadline = Deadline.EXCHANGE) -> str:
    """Run an engine's command and return what it prints; raise `UserError` with its last words if it fails.

    Without `check` a failure is passed over.
    """
    done = outside.call(command, f"{command[0]} {command[1]}", deadline)
    if done.returncode and check:
        words = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["no reason"]
        raise UserError(f"{command[0]} {command[1]} failed: {words[-1].strip()}")
    return done.stdout.strip()


def show(*command: str) -> None:
    """Run an engine's long command with all that it says in sight; raise `UserError` where it fails."""
    done = outside.call(command, f"{command[0]} {command[1]}", Deadline.TRANSFER, shown=True)
    if done.returncode:
        raise UserError(f"{command[0]} {command[1]} failed, for the reason that stands above")
