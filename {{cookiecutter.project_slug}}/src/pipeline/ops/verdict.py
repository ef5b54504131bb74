"""The one required check: every job that had to succeed did."""

import json
import os

from ..errors import UserError
from . import github, trouble
from .event import current


def judge(needs: dict[str, dict[str, object]]) -> list[str]:
    """Name what is missing for a green verdict, from the workflow's `needs` context; empty where nothing is."""
    results = {job: str(facts["result"]) for job, facts in needs.items()}
    # Only a plan that found nothing to do explains a training that was skipped.
    idle = _output(needs, "plan", "work") == "nothing"
    wanted = {job: ("success", "skipped") if job == "train" and idle else ("success",) for job in results}
    return [f"{job}: {result}" for job, result in results.items() if result not in wanted[job]]


def run() -> None:
    """Exit 1 unless all is well, and put the same verdict on the commit that carries the lock."""
    if "NEEDS" not in os.environ:
        print("on a laptop: whatever came this far succeeded")
        return
    event, needs = current(), json.loads(os.environ["NEEDS"])
    missing = judge(needs)
    summary = f"not green: {', '.join(missing)}" if missing else "all jobs that had to run succeeded"
    commit = _output(needs, "train", "commit")
    if commit and commit != event.commit:
        github.conclude(event, str(commit), success=not missing, summary=summary)
    if "train: failure" in missing and _output(needs, "train", "reported") != "success" and event.name:
        trouble.tell(event)
    if missing:
        raise UserError(f"the verdict is {summary}; the logs of these jobs say why")
    print(f"the verdict is green: {summary}")


def _output(needs: dict[str, dict[str, object]], job: str, name: str) -> object:
    outputs = needs.get(job, {}).get("outputs")
    return outputs.get(name) if isinstance(outputs, dict) else None
