"""Run ci.yaml itself on this machine, as committed, with `act`: its jobs, its verbs, no GitHub and no account."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

from ..errors import UserError

WORKFLOWS = Path(".github/workflows")
RUNNER = "ubuntu-24.04"  # what the workflows fall back to where no variable names a runner
# act wants to read every action, even of steps that are skipped; a checkout of GitHub's becomes a clone of this folder.
REPLACED = re.compile(r"uses: (actions/(?:checkout|create-github-app-token)@\w+)")
CLONE = {
    "name": "clone",
    "description": "This repository as committed, in the place of actions/checkout",
    "runs": {"using": "composite", "steps": [{"shell": "bash", "run": 'git clone --quiet "$LAPTOP" .'}]},
}


def run() -> int:
    """Run the jobs in the workflow's order and give act's exit status; raise `UserError` where act is missing."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return subprocess.run(command(Path(folder)), env=_environment(), check=False).returncode
        except FileNotFoundError:
            raise UserError("act is not on the PATH: install it (https://nektosact.com), or run `make ci`") from None


def command(folder: Path) -> list[str]:
    """Give the command line of act; what it reads beside the repository is laid into `folder`."""
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
    """Give the default DVC remote as this checkout knows it, credentials and all, for jobs in folders of their own."""
    from dvc.repo import Repo

    with Repo() as repo:
        name = repo.config["core"].get("remote")
        settings = repo.config["remote"].get(name, {})
    return "\n".join([f"['remote \"{name}\"']", *(f"    {key} = {value}" for key, value in settings.items()), ""])


def _environment() -> dict[str, str]:
    """Leave out what would lead a job back to this checkout: its environment on the PATH, and make's state."""
    here = str(Path.cwd())
    path = [entry for entry in os.environ["PATH"].split(os.pathsep) if not entry.startswith(here)]
    state = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VIRTUAL_ENV", "PYTHONPATH")
    return {key: value for key, value in os.environ.items() if key not in state} | {"PATH": os.pathsep.join(path)}
