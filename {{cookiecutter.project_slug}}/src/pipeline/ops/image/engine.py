"""docker, podman or buildah: whichever is there."""

import shutil
import subprocess
import sys

from ...errors import UserError

BUILDERS, RUNNERS = ("docker", "podman", "buildah"), ("docker", "podman")


def engine(choice: tuple[str, ...] = BUILDERS) -> str:
    """Give the first of these programs that answers; raise `UserError` where none does."""
    for name in choice:
        # A docker without its daemon is no engine.
        if shutil.which(name) and subprocess.run([name, "version"], capture_output=True, check=False).returncode == 0:
            return name
    raise UserError(f"no container engine answers: install one of {', '.join(choice)}, or start its daemon")


def call(*command: str, check: bool = True) -> str:
    """Run an engine's command and return what it prints; raise `UserError` with its last words if it fails.

    Without `check` a failure is passed over.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and check:
        words = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["no reason"]
        raise UserError(f"{command[0]} {command[1]} failed: {words[-1].strip()}")
    return done.stdout.strip()


def show(*command: str) -> None:
    """Run an engine's long command with all that it says in sight; raise `UserError` where it fails."""
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        raise UserError(f"{command[0]} {command[1]} failed, for the reason that stands above")
