"""From a push to its verdict: the plan, the training, the commit of dvc.lock, and the one required check.

The plan (would any stage run, and may it run here?) is decided from git and dvc.lock alone: nothing is fetched.

`make resolve` merges the default branch into a branch if both trained, and takes the default branch's dvc.lock. A lock
is never merged by hand, as it records what one training read and wrote. The merged parameters, code and data decide
what is out of date beside that lock, and only those stages run again, here or in the pull request's own run.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from .. import files
from ..adapters import actions, dvc, git, github
from ..adapters.actions import Event, current
from ..adapters.dvc import stale_stages
from ..adapters.github import commit_file, credentials, fetch_branch
from ..config.gates import GATES
from ..errors import UserError
from ..files import DATA_DVC, LOCK
from ..text import say
from . import comment

Work = Literal["nothing", "judge", "train"]
Needs = dict[str, dict[str, object]]  # the workflow's `needs` context: job → facts
FORK = "a maintainer has to push this branch to the repository itself"
CHECKS = "checks"
# What the checks read is all but this: what the stages wrote or read, which image runs where, and pages.
NOT_CHECKED = re.compile(r"(dvc\.lock|data\.dvc)$|deploy/overlays/[\w/-]+\.yaml$|(docs/)?[\w-]+\.(md|svg|png)$")
RUNS_ASKED = 30  # the newest
PUSHED = (CHECKS, "plan", "train")  # the jobs of ci.yaml that a verdict needs
ON_BEHALF = ("check", "train")  # and those of drift.yaml
MESSAGE = "Lock what was trained"


@dataclass(frozen=True)
class Plan:
    """The `work` to do for a commit, with the reason in a sentence and the stages that are out of date."""

    work: Work
    reason: str
    stale: list[str]


def judged(commit: str | None) -> dict[str, Any]:
    """Return what a verdict at that commit depends on: the stages' outputs, the data and the gate's settings."""
    if commit is None:
        return {}
    lock, data = _at(commit, LOCK), _at(commit, DATA_DVC)
    return {"outs": dvc.outs(lock), "data": data.get("outs"), "gates": git.read(commit, GATES)}


def _at(commit: str, path: Path) -> dvc.Document:
    text = git.read(commit, path)
    return dvc.parse(text, f"{path} at {commit[:12]}") if text else {}


def decide(event: Event) -> Plan:
    """Return the plan for an event; raise `UserError` if the lock is out of date and nothing may be trained here."""
    stale = stale_stages()
    if not stale:
        # Compared with the commit that the branch started at: a branch that is merely behind offers no old model.
        base = git.merge_base(event.commit, event.champion) if event.champion else None
        if judged(event.commit) == judged(base):
            return Plan("nothing", "dvc.lock is true, and what the stages wrote, data and gate are as they were", stale)
        if event.fork:
            raise UserError(f"a fork's model is not judged here: {FORK}")
        origin = actions.origin(base)
        if actions.accepted(origin) or _came_by_pull_request(event):
            return Plan("judge", "dvc.lock is true; model, other outputs, data or gate changed", stale)
        reason = f"{origin.sentence.removesuffix('.')}, and gates.yaml wants one (provenance.trained_by)"
        return _train(event, reason, stale)
    return _train(event, f"dvc.lock is not true ({', '.join(stale)} would run)", stale)


def _came_by_pull_request(event: Event) -> bool:
    """Return whether this is a push to a protected branch: its pull request was held to gates.yaml already."""
    return bool(event.branch) and event.pull_request is None and github.is_protected(event)


def _train(event: Event, reason: str, stale: list[str]) -> Plan:
    """Plan a training; raise `UserError` if none may be made here."""
    if event.fork:
        raise UserError(f"{reason}, and a fork never trains here: {FORK}")
    if event.name == "merge_group":
        raise UserError(
            f"{reason}, and the merge queue trains nothing: bring the branch up to date, its pull request trains"
        )
    if _came_by_pull_request(event):
        raise UserError(
            f"{reason}, and {event.branch} is protected: open a pull request, it trains and commits the lock"
        )
    return Plan("train", reason, stale)


def sources(commit: str) -> str | None:
    """Return a digest of what `make check` and `make test` may read at a commit.

    Return None if git does not have the commit, or if no uv.lock there says with which packages they run.
    """
    listing = git.query("ls-tree", "-r", "-z", "--full-tree", commit)
    entries = [line.partition("\t") for line in (listing or "").split("\0")]
    if "uv.lock" not in [name for _, _, name in entries]:
        return None
    read = sorted(f"{name}\0{entry}\n" for entry, _, name in entries if not NOT_CHECKED.match(name))
    return hashlib.sha256("".join(read).encode()).hexdigest()


def checked_by(event: Event) -> str | None:
    """Return the run of ci.yaml whose job `checks` succeeded for the same sources; None if there is none.

    What is asked is GitHub's own record of jobs, which no token can write, not a check, a cache or an artifact, which
    the code of a pull request could. Only runs of pushes to the default branch and of the merge queue count: theirs is
    the ci.yaml of their own commit, and so one of the sources. That of a pull request's run is merged with a base that
    its author chooses. A person who starts the workflow asks for the checks, so that no run replaces them.
    """
    key = sources(event.commit)
    if key is None or event.name not in ("pull_request", "push", "merge_group"):
        return None
    api = f"repos/{event.repository}/actions"
    try:
        for which in (f"event=push&branch={quote(git.default_branch(), safe='')}", "event=merge_group"):
            path = f"{api}/workflows/{actions.CI.name}/runs?{which}&status=completed&per_page={RUNS_ASKED}"
            for run in github.api(path)["workflow_runs"]:
                if sources(run["head_sha"]) == key:
                    jobs = github.api(f"{api}/runs/{run['id']}/jobs?per_page=100")["jobs"]
                    if any(job["name"] == CHECKS and job["conclusion"] == "success" for job in jobs):
                        return f"{event.server}/{event.repository}/actions/runs/{run['id']}"
    except UserError as error:
        say(f"earlier checks cannot be looked up, so they run again ({error})")
    return None


def run_plan() -> None:
    """Print the plan, and hand it to the workflow."""
    event = current()
    if event.name:
        actions.warn_unwatched(git.default_branch())
        if earlier := checked_by(event):
            say(f"checked: {earlier} checked the same sources")
            actions.outputs(checked="true")
    plan = decide(event)
    if plan.work != "nothing":
        dvc.require_reach(planned=True)
    say(f"{plan.work}: {plan.reason}")
    actions.outputs(work=plan.work)


# The one required check: every job that had to succeed did.


def judge(needs: Needs, jobs: tuple[str, ...] = PUSHED) -> list[str]:
    """Return what is missing for a green verdict, from the workflow's `needs` context; empty if nothing is.

    Each of `jobs` must be there, and every job in `needs` must have succeeded: a job that did not run proves nothing.
    """
    results = dict.fromkeys(jobs, "not there")
    results |= {job: str(facts.get("result") or "no result") for job, facts in needs.items()}
    # Only a plan that found nothing to do explains a training that was skipped, or an earlier run checks that were.
    idle, checked = _output(needs, "plan", "work") == "nothing", _output(needs, "plan", "checked") == "true"
    explained = {"train": idle, CHECKS: checked}
    accepted = {job: ("success", "skipped") if explained.get(job) else ("success",) for job in results}
    missing = [f"{job}: {result}" for job, result in results.items() if result not in accepted[job]]
    # The gate of a retraining may be red although its job is not.
    judged = results.get("train") != "success" or _output(needs, "train", "judged") == "success"
    return missing if judged else [*missing, "gate: failure"]


def run_required_check() -> None:
    """Exit 1 if anything is missing, and put the same verdict on the commit that carries the lock.

    A run on behalf of a pull request that did not start it, as the drift check's, exits 0: that pull request has the
    red verdict.
    """
    event, context = current(), os.environ.get("NEEDS")
    if context is None and not event.name:
        print("on a laptop: all steps before this one succeeded")
        return
    needs = _read(context)
    missing = judge(needs, ON_BEHALF if event.on_behalf else PUSHED)
    summary = f"not green: {', '.join(missing)}" if missing else "all jobs that had to run succeeded"
    commit = _output(needs, "train", "commit") or (event.commit if event.on_behalf and missing else None)
    if commit and (event.on_behalf or commit != event.commit):
        github.conclude(event, str(commit), success=not missing, summary=summary)
    # After a plan or a training that failed there is no report.
    failed = bool({"plan: failure", "train: failure"} & set(missing))
    if event.name and failed and _output(needs, "train", "reported") != "success":
        comment.post_failure(event)
    if missing and not event.on_behalf:
        raise UserError(f"the verdict is {summary}; the logs of these jobs say why")
    say(f"the verdict is {summary if missing else f'green: {summary}'}")


def _read(context: str | None) -> Needs:
    try:
        needs: Any = json.loads(context or "")
    except (json.JSONDecodeError, RecursionError):
        needs = None
    if not isinstance(needs, dict) or not all(isinstance(facts, dict) for facts in needs.values()):
        raise UserError(f"NEEDS is {context!r}, not the workflow's context: its step must set it to toJSON(needs)")
    return needs


def _output(needs: Needs, job: str, name: str) -> object:
    outputs = needs.get(job, {}).get("outputs")
    return outputs.get(name) if isinstance(outputs, dict) else None


# The commit of dvc.lock.


def push(event: Event) -> str | None:
    """Commit dvc.lock to the branch that was trained, by the job's own token, without force, and return the commit.

    Return None if somebody pushed to the branch or deleted it meanwhile: the branch's own run will judge it.
    """
    lock = files.read_text(LOCK, "run `make pipeline`")
    if git.read(event.commit, LOCK) == lock and not actions.to_be_recorded(event):
        return event.commit
    branch, environment = str(event.branch), credentials(event)
    head = fetch_branch(branch, environment)
    if head is None:
        return None
    if head != event.commit:
        is_this_lock = git.resolve(f"{head}^") == event.commit and git.read(head, LOCK) == lock
        return head if is_this_lock else None
    new = commit_file(head, LOCK, lock, f"{MESSAGE}\n\n{actions.trailers()}", environment)
    try:
        git.run("push", "--quiet", "origin", f"{new}:refs/heads/{branch}", environment=environment)
    except UserError:
        if fetch_branch(branch, environment) != event.commit:
            return None  # somebody pushed in between
        raise
    git.run("reset", "--quiet", new, environment=environment)  # later steps of this job belong to the new commit
    return new


def run_lock() -> None:
    """Commit and push dvc.lock, and hand the commit that the verdict belongs to to the workflow."""
    event = current()
    if not event.name:
        print("on a laptop: commit dvc.lock with your own change")
        return
    locked = push(event)
    if locked is None:
        say(f"{event.branch} moved on while this trained: its own run finds the training in the cache")
    elif locked == event.commit:
        print("dvc.lock is as the commit has it")
    else:
        say(f"dvc.lock is committed to {event.branch} as {locked[:12]}")
    actions.outputs(commit=locked or "")


# CI's job `train`, before it pushes.


def training_commands(*, scratch: bool) -> list[list[str]]:
    """Return the commands of a training in order, each a program of this environment's Python.

    Stages that are up to date are skipped, and the run cache restores results of earlier runs. With `scratch`, if
    gates.yaml wants CI to have made everything, neither is used: both may hold what a person put there.
    """
    data = ["mergeworthy", "data"]
    if scratch:
        return [data, ["dvc", "repro", "--force"]]
    return [["dvc", "fetch", "--run-cache"], [*data, "--if-needed"], ["dvc", "repro", "--pull", "--allow-missing"]]


def run_training() -> None:
    """Get the data, run the stages and hand over the lock; raise `UserError` naming the first command that fails."""
    for program, *words in training_commands(scratch=actions.from_scratch(current())):
        command = [sys.executable, "-m", f"{program}.cli", *words]
        status = dvc.run(words) if program == "dvc" else subprocess.run(command, check=False).returncode
        if status:
            raise UserError(f"{program} {' '.join(words)} failed (exit code {status}), see above")
    actions.hand_over()


# `make resolve`.


def run_resolve() -> None:
    """Merge the default branch with its dvc.lock, and commit that; raise `UserError` if other files conflict.

    If a merge is under way, it is finished, whichever branch is merged.
    """
    if git.resolve("MERGE_HEAD") is None:
        _merge()
    theirs = git.resolve("MERGE_HEAD")
    if theirs is None:
        print("nothing conflicts: the default branch is merged")
        return
    _refuse_other_conflicts(git.run("diff", "--name-only", "--diff-filter=U", "--relative", "-z").split("\0"))
    lock = git.read(theirs, LOCK)
    if lock is None:
        git.run("rm", "--quiet", "--force", "--ignore-unmatch", "--", str(LOCK))
    else:
        LOCK.write_text(lock)
        git.run("add", "--", str(LOCK))
    git.run("commit", "--quiet", "--no-edit")
    say(f"merged, with the {LOCK} of {theirs[:12]}: what is out of date beside it is to be run again")


def _refuse_other_conflicts(conflicts: list[str]) -> None:
    others = sorted(set(conflicts) - {"", str(LOCK)})
    if not others:
        return
    hint = ""
    if str(DATA_DVC) in others:
        hint = f"; of {DATA_DVC} take one side's: `git checkout --theirs {DATA_DVC}`, and `make data UNTIL=` adds yours"
    raise UserError(
        f"{', '.join(others)} conflict{'s' if len(others) == 1 else ''} too: edit and `git add` them, then run "
        f"`make resolve` again, or leave the merge by `git merge --abort`{hint}"
    )


def _merge() -> None:
    if git.run("status", "--porcelain", "--untracked-files=no", "--", "."):
        raise UserError("there are changes that are not committed: commit them first")
    branch = git.default_branch()
    if git.run("remote"):
        git.run("fetch", "--quiet", "origin", branch)
    ref = next((name for name in (f"origin/{branch}", branch) if git.resolve(name)), None)
    if ref is None:
        raise UserError(f"git knows no branch {branch} to merge: fetch it first")
    try:
        git.run("merge", "--quiet", "--no-edit", ref)
    except UserError as error:
        if git.resolve("MERGE_HEAD") is None:
            raise UserError(f"{ref} cannot be merged: {error}") from None
