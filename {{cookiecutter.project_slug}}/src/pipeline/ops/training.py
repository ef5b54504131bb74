"""What CI's job `train` does before it pushes: bring the data, run the stages, hand the lock to the job that judges."""

import subprocess
import sys

from ..errors import UserError, run
from . import provenance
from .event import current


def commands(*, scratch: bool) -> list[list[str]]:
    """Return the commands in order.

    Stages that are up to date are skipped, and the run cache saves what was done before, unless gates.yaml wants CI to
    have made everything (`scratch`): both may hold what a person put there.
    """
    data = [sys.executable, "-m", "pipeline", "data"]
    dvc = [sys.executable, "-m", "dvc"]
    if scratch:
        return [data, [*dvc, "repro", "--force"]]
    return [[*dvc, "fetch", "--run-cache"], [*data, "--if-needed"], [*dvc, "repro", "--pull", "--allow-missing"]]


def main() -> None:
    """Run them, each with its own output; raise `UserError` naming the first that fails."""
    for command in commands(scratch=provenance.from_scratch(current())):
        if code := subprocess.run(command, check=False).returncode:
            raise UserError(f"{' '.join(command[2:])} failed (exit code {code}), see above")
    provenance.hand_over()


if __name__ == "__main__":
    run(main)
