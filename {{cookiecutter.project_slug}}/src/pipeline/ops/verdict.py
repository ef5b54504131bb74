"""The one required check: every job that had to succeed did."""

import json
import os

from ..errors import UserError
from ..text import say
from . import github, trouble
from .event import current


def judge(needs: dict[str, dict[str, object]]) -> list[str]:
    """Name what is missing for a green verdict, from the workflow's `needs` context; empty where nothing is."""
    results = {job: str(facts["result"]) for job, facts in needs.items()}
    # Only a plan that found nothing to do explains a training that was skipped.
    idle = _output(needs, "plan", "work") == "nothing"
    wanted = {job: ("success", "skipped") if job == "train" and idle else ("success",) for job in results}
    missing = [f"{job}: {result}" for job, result in results.items() if result not in wanted[job]]
    # A retraining's gate may be red where its job is not.
    judged = results.get("train") != "success" or _output(needs, "train", "judged") == "success"
    return missing if judged else [*missing, "gate: failure"]


def run() -> None:
    """Exit 1 unless all is well, and put the same verdict on the commit that carries the lock.

    A run on behalf of a pull request that did not start it, as the drift check's, exits 0: the red verdict is there.
    """
    if "NEEDS" not in os.environ:
        print("on a laptop: whatever came this far succeeded")
        return
    event, needs = current(), json.loads(os.environ["NEEDS"])
    missing = judge(needs)
    summary = f"not green: {', '.join(missing)}" if missing else "all jobs that had to run succeeded"
    commit = _output(needs, "train", "commit") or (event.commit if event.on_behalf and missing else None)
    if commit and (event.on_behalf or commit != event.commit):
        github.conclude(event, str(commit), success=not missing, summary=summary)
    if "train: failure" in missing and _output(needs, "train", "reported") != "success" and event.name:
        trouble.tell(event)
    if missing and not event.on_behalf:
        raise UserError(f"the verdict is {summary}; the logs of these jobs say why")
    say(f"the verdict is {summary if missing else f'green: {summary}'}")


def _output(needs: dict[str, dict[str, object]], job: str, name: str) -> object:
    outputs = needs.get(job, {}).get("outputs")
    return outputs.get(name) if isinstance(outputs, dict) else None
