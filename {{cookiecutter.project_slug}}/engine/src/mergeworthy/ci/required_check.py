"""The one required check: every job that had to succeed did."""

import json
import os
from typing import Any

from ..adapters import github
from ..adapters.event import current
from ..errors import UserError
from ..text import say
from . import failure as trouble

Needs = dict[str, dict[str, object]]

PUSHED = ("checks", "plan", "train")  # the jobs of ci.yaml that a verdict rests on
ON_BEHALF = ("check", "train")  # and those of drift.yaml


def judge(needs: Needs, jobs: tuple[str, ...] = PUSHED) -> list[str]:
    """Name what is missing for a green verdict, from the workflow's `needs` context; empty if nothing is.

    Each of `jobs` must be there, and every job in `needs` must have succeeded: what did not run shows nothing.
    """
    results = dict.fromkeys(jobs, "not there")
    results |= {job: str(facts.get("result") or "no result") for job, facts in needs.items()}
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
    event, given = current(), os.environ.get("NEEDS")
    if given is None and not event.name:
        print("on a laptop: whatever came this far succeeded")
        return
    needs = _read(given)
    missing = judge(needs, ON_BEHALF if event.on_behalf else PUSHED)
    summary = f"not green: {', '.join(missing)}" if missing else "all jobs that had to run succeeded"
    commit = _output(needs, "train", "commit") or (event.commit if event.on_behalf and missing else None)
    if commit and (event.on_behalf or commit != event.commit):
        github.conclude(event, str(commit), success=not missing, summary=summary)
    # A plan that failed is followed by no report, nor is a training that did.
    if (
        {"plan: failure", "train: failure"} & set(missing)
        and _output(needs, "train", "reported") != "success"
        and event.name
    ):
        trouble.tell(event)
    if missing and not event.on_behalf:
        raise UserError(f"the verdict is {summary}; the logs of these jobs say why")
    say(f"the verdict is {summary if missing else f'green: {summary}'}")


def _read(given: str | None) -> Needs:
    try:
        needs: Any = json.loads(given or "")
    except (json.JSONDecodeError, RecursionError):
        needs = None
    if not isinstance(needs, dict) or not all(isinstance(facts, dict) for facts in needs.values()):
        raise UserError(f"NEEDS is {given!r}, not the workflow's context: its step must set it to toJSON(needs)")
    return needs


def _output(needs: Needs, job: str, name: str) -> object:
    outputs = needs.get(job, {}).get("outputs")
    return outputs.get(name) if isinstance(outputs, dict) else None
