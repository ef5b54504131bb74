"""May what is checked out be released? Only a commit that carries a green verdict and a true lock."""

import subprocess
from dataclasses import dataclass

from .. import github, workflow
from ..event import Event, current
from ..plan import stale_stages


@dataclass(frozen=True)
class Plan:
    """`commit` to release, or None; and the reason in a sentence."""

    commit: str | None
    reason: str


def candidate() -> str:
    """Give the newest commit on this line that changed more than which model runs where."""
    command = ["git", "log", "-1", "--first-parent", "--format=%H", "HEAD", "--", ".", ":(exclude)deploy/overlays"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def decide(event: Event) -> Plan:
    """Look at the candidate; a laptop has no verdict to ask for, only the lock."""
    commit = candidate()
    if stale := stale_stages():
        return Plan(None, f"dvc.lock is not true ({', '.join(stale)} would run), so there is no model to release")
    if event.name and not _is_green(event, commit):
        return Plan(None, f"{commit[:12]} carries no green verdict; the run that gives it one is followed by a release")
    return Plan(commit, f"{commit[:12]} is judged, and its dvc.lock is true")


def _is_green(event: Event, commit: str) -> bool:
    runs = github.api(f"repos/{event.repository}/commits/{commit}/check-runs?check_name=verdict")["check_runs"]
    return bool(runs) and all(run["conclusion"] == "success" for run in runs)


def run() -> None:
    """Print the plan, and hand it to the workflow where there is one."""
    plan = decide(current())
    print(f"{'release' if plan.commit else 'nothing to release'}: {plan.reason}")
    workflow.outputs(commit=plan.commit or "")
