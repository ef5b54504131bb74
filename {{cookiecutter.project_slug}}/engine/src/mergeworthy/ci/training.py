"""What CI's job `train` does before it pushes: bring the data, run the stages, hand the lock to the job that judges."""

import subprocess
import sys

from ..adapters import dvc_cli, provenance
from ..adapters.event import current
from ..errors import UserError


def commands(*, scratch: bool) -> list[list[str]]:
    """Return the commands in order, each a program of this environment's Python.

    Stages that are up to date are skipped, and the run cache saves what was done before, unless gates.yaml wants CI to
    have made everything (`scratch`): both may hold what a person put there.
    """
    data = ["mergeworthy", "data"]
    if scratch:
        return [data, ["dvc", "repro", "--force"]]
    return [["dvc", "fetch", "--run-cache"], [*data, "--if-needed"], ["dvc", "repro", "--pull", "--allow-missing"]]


def main() -> None:
    """Run them, each with its own output; raise `UserError` naming the first that fails."""
    for program, *words in commands(scratch=provenance.from_scratch(current())):
        own = [sys.executable, "-m", program, *words]
        code = dvc_cli.run(words) if program == "dvc" else subprocess.run(own, check=False).returncode
        if code:
            raise UserError(f"{program} {' '.join(words)} failed (exit code {code}), see above")
    provenance.hand_over()
