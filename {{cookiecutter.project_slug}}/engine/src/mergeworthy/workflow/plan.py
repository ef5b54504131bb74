"""From a push to its verdict: what is to be done, the training, the lock, and the one required check."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import files
from ..adapters import actions, dvc, dvc_files, git, github
from ..adapters import git as repository
from ..adapters.actions import Event, current
from ..adapters.dvc import stale_stages
from ..adapters.github import commit_file, credentials, fetch_branch, run_git
from ..config.gates import GATES
from ..errors import UserError
from ..paths import DATA_DVC, LOCK
from ..process import SILENCE, Deadline, call
from ..text import say
from . import comment

# DOC ci.plan: Would any stage run, and may it run here? Decided from git and dvc.lock alone: nothing is fetched.

if TYPE_CHECKING:
    pass

FORK = "a maintainer has to push this branch to the repository itself"
Work = Literal["nothing", "judge", "train"]


@dataclass(frozen=True)
class Plan:
    """`work` to be done for this commit, with the reason in a sentence and the stages that are out of date."""

    work: Work
    reason: str
    stale: list[str]


def judged(commit: str | None) -> dict[str, Any]:
    """Return what a verdict at that commit rests on: what the stages wrote, the data and the gate's own settings."""
    if commit is None:
        return {}
    lock, data = _at(commit, LOCK), _at(commit, DATA_DVC)
    return {"outs": dvc_files.outs(lock), "data": data.get("outs"), "gates": git.read(commit, GATES)}


def _at(commit: str, path: Path) -> dvc_files.Document:
    text = git.read(commit, path)
    return dvc_files.parse(text, f"{path} at {commit[:12]}") if text else {}


def decide(event: Event) -> Plan:
    """Choose the work for an event; raise `UserError` where the lock is not true and nothing may be trained here."""
    stale = stale_stages()
    if not stale:
        # Against where the branch left, so that a branch which is merely behind does not offer an old model.
        base = git.merge_base(event.commit, event.champion) if event.champion else None
        if judged(event.commit) == judged(base):
            return Plan("nothing", "dvc.lock is true, and what the stages wrote, data and gate are as they were", stale)
        if event.fork:
            raise UserError(f"a fork's model is not judged here: {FORK}")
        found = actions.origin(base)
        if actions.accepted(found) or _came_by_pull_request(event):
            return Plan("judge", "dvc.lock is true; model, other outputs, data or gate changed", stale)
        return _train(
            event, f"{found.sentence.removesuffix('.')}, and gates.yaml wants one (provenance.trained_by)", stale
        )
    return _train(event, f"dvc.lock is not true ({', '.join(stale)} would run)", stale)


def _came_by_pull_request(event: Event) -> bool:
    """Tell whether this is a push to a protected branch: the pull request before it was held to gates.yaml."""
    return bool(event.branch) and event.pull_request is None and github.is_protected(event)


def _train(event: Event, outdated: str, stale: list[str]) -> Plan:
    """Plan a training; raise `UserError` if none may be made here."""
    if event.fork:
        raise UserError(f"{outdated}, and a fork never trains here: {FORK}")
    if event.name == "merge_group":
        raise UserError(
            f"{outdated}, and the merge queue trains nothing: bring the branch up to date, its pull request trains"
        )
    if _came_by_pull_request(event):
        raise UserError(
            f"{outdated}, and {event.branch} is protected: open a pull request, it trains and commits the lock"
        )
    return Plan("train", outdated, stale)


def run_plan() -> None:
    """Print the plan, and hand it to the workflow where there is one."""
    event = current()
    if event.name:
        actions.warn_unwatched(git.default_branch())
    plan = decide(event)
    if plan.work != "nothing":
        dvc.require_reach(planned=True)
    say(f"{plan.work}: {plan.reason}")
    actions.outputs(work=plan.work)


# DOC ci.required_check: The one required check: every job that had to succeed did.

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


def run_required_check() -> None:
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
        comment.post_failure(event)
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


# DOC ci.lock: Commit dvc.lock to the branch that was trained: by the job's own token, without force, if nobody pushed
# meanwhile.

MESSAGE = "Lock what was trained"


def push(event: Event) -> str | None:
    """Return the commit that holds this lock; None if the branch moved on, or is gone: its own run will judge it."""
    lock = files.read_text(LOCK, "run `make pipeline`")
    if repository.read(event.commit, LOCK) == lock and not actions.to_be_recorded(event):
        return event.commit
    branch, environment = str(event.branch), credentials(event)
    head = fetch_branch(branch, environment)
    if head is None:
        return None
    if head != event.commit:
        ours = repository.resolve(f"{head}^") == event.commit and repository.read(head, LOCK) == lock
        return head if ours else None
    made = commit_file(head, LOCK, lock, f"{MESSAGE}\n\n{actions.trailers()}", environment)
    try:
        run_git("push", "--quiet", "origin", f"{made}:refs/heads/{branch}", environment=environment)
    except UserError:
        if fetch_branch(branch, environment) != event.commit:
            return None  # a push that came in between
        raise
    run_git("reset", "--quiet", made, environment=environment)  # what follows in this job belongs to the new commit
    return made


def run_lock() -> None:
    """Commit and push dvc.lock, and tell the workflow which commit the verdict belongs to."""
    event = current()
    if not event.name:
        print("on a laptop: commit dvc.lock with your own change")
        return
    made = push(event)
    if made is None:
        say(f"{event.branch} moved on while this trained: its own run finds the training in the cache")
    elif made == event.commit:
        print("dvc.lock is as the commit has it")
    else:
        say(f"dvc.lock is committed to {event.branch} as {made[:12]}")
    actions.outputs(commit=made or "")


# DOC ci.training: What CI's job `train` does before it pushes: bring the data, run the stages, hand the lock to the
# job that judges.


def training_commands(*, scratch: bool) -> list[list[str]]:
    """Return the commands in order, each a program of this environment's Python.

    Stages that are up to date are skipped, and the run cache saves what was done before, unless gates.yaml wants CI to
    have made everything (`scratch`): both may hold what a person put there.
    """
    data = ["mergeworthy", "data"]
    if scratch:
        return [data, ["dvc", "repro", "--force"]]
    return [["dvc", "fetch", "--run-cache"], [*data, "--if-needed"], ["dvc", "repro", "--pull", "--allow-missing"]]


def run_training() -> None:
    """Run them, each with its own output; raise `UserError` naming the first that fails."""
    for program, *words in training_commands(scratch=actions.from_scratch(current())):
        own = [sys.executable, "-m", program, *words]
        code = dvc.run(words) if program == "dvc" else subprocess.run(own, check=False).returncode
        if code:
            raise UserError(f"{program} {' '.join(words)} failed (exit code {code}), see above")
    actions.hand_over()


# DOC ci.resolve: `make resolve`: two pull requests that train meet in dvc.lock; this branch takes the default
# branch's and goes on. A lock is never merged by hand: it says what one training read and wrote. The merged
# parameters, code and data decide what is out of date beside the other branch's lock, and only that is run again,
# here or by the pull request's own run.


def run_resolve() -> None:
    """Merge the default branch with its dvc.lock, and commit that; raise `UserError` if other files conflict.

    A merge that is under way is finished, whichever branch it is with.
    """
    if git.resolve("MERGE_HEAD") is None:
        _merge()
    theirs = git.resolve("MERGE_HEAD")
    if theirs is None:
        print("nothing conflicts: the default branch is merged")
        return
    _require_no_other(_git("diff", "--name-only", "--diff-filter=U", "--relative", "-z").split("\0"))
    lock = git.read(theirs, LOCK)
    if lock is None:
        _git("rm", "--quiet", "--force", "--ignore-unmatch", "--", str(LOCK))
    else:
        LOCK.write_text(lock)
        _git("add", "--", str(LOCK))
    _git("commit", "--quiet", "--no-edit")
    say(f"merged, with the {LOCK} of {theirs[:12]}: what is out of date beside it is to be run again")


def _require_no_other(conflicts: list[str]) -> None:
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
    if _git("status", "--porcelain", "--untracked-files=no", "--", "."):
        raise UserError("there are changes that are not committed: commit them first")
    branch = git.default_branch()
    if _git("remote"):
        _fetch(branch)
    ref = next((name for name in (f"origin/{branch}", branch) if git.resolve(name)), None)
    if ref is None:
        raise UserError(f"git knows no branch {branch} to merge: fetch it first")
    command = ["git", "merge", "--quiet", "--no-edit", ref]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and git.resolve("MERGE_HEAD") is None:
        raise UserError(f"git cannot merge {ref}: {' '.join((done.stderr or done.stdout).split())}")


def _fetch(branch: str) -> None:
    command = ["git", "fetch", "--quiet", "origin", branch]
    done = call(command, "origin (git fetch)", Deadline.EXCHANGE, environment=SILENCE)
    if done.returncode:
        raise UserError(f"git fetch failed: {' '.join(done.stderr.split()) or 'no reason'}")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"git {words[0]} failed: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout.strip()
