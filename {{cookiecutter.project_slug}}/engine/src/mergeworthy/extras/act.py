"""Run ci.yaml itself on this machine, as committed, with `act`: its jobs and verbs, without GitHub or an account."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from ..errors import UserError

WORKFLOWS = Path(".github/workflows")
RUNNER = "ubuntu-24.04"  # the label that the workflows use if no variable names a runner
# act reads every action, even of steps that are skipped. These two need GitHub: a clone of this folder replaces them.
REPLACED = re.compile(r"uses: (actions/(?:checkout|create-github-app-token)@\w+)")
CLONE = {
    "name": "clone",
    "description": "This repository as committed, in the place of actions/checkout",
    "runs": {"using": "composite", "steps": [{"shell": "bash", "run": 'git clone --quiet "$LAPTOP" .'}]},
}


def run() -> int:
    """Run the jobs in the workflow's order and return act's exit status; raise `UserError` if act is missing."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return subprocess.run(command(Path(folder)), env=_environment(), check=False).returncode
        except FileNotFoundError:
            raise UserError("act is not on the PATH: install it (https://nektosact.com), or run `make ci`") from None


def command(folder: Path) -> list[str]:
    """Return act's command line; write the files that act needs beside the repository into `folder`."""
    (folder / "clone").mkdir()
    (folder / "clone/action.yaml").write_text(json.dumps(CLONE))  # JSON is YAML
    secrets = folder / "secrets.yaml"
    secrets.touch(mode=0o600)
    secrets.write_text(json.dumps({"DVC_CONFIG": remote()}))
    actions = {action for path in WORKFLOWS.glob("*.yaml") for action in REPLACED.findall(path.read_text())}
    options = {
        "--workflows": str(WORKFLOWS / "ci.yaml"),
        "--platform": f"{RUNNER}=-self-hosted",  # on this machine, without Docker
        "--container-daemon-socket": "-",
        "--secret-file": str(secrets),
        "--env": f"LAPTOP={Path.cwd()}",
        "--action-cache-path": str(folder / "actions"),
    }
    pairs = [*options.items(), *(("--local-repository", f"{action}={folder / 'clone'}") for action in sorted(actions))]
    return [
        "act",
        "workflow_dispatch",
        "--no-skip-checkout",
        "--no-cache-server",
        *(word for pair in pairs for word in pair),
    ]


def remote() -> str:
    """Return the default DVC remote of this checkout as configuration, with its credentials, for jobs elsewhere."""
    from dvc.repo import Repo

    with Repo() as repo:
        name = repo.config["core"].get("remote")
        settings = repo.config["remote"].get(name, {})
    return "\n".join([f"['remote \"{name}\"']", *(f"    {key} = {value}" for key, value in settings.items()), ""])


def _environment() -> dict[str, str]:
    """Return the environment without what leads a job back to this checkout: its programs on the PATH, make's state."""
    here = str(Path.cwd())
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if not entry.startswith(here)]
    state = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VIRTUAL_ENV", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key not in state} | {"PATH": os.pathsep.join(path)}
