"""One run of one workflow: its jobs, each behind those it needs."""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from . import permissions, results, staging, workflows
from .execution import Executor
from .repository import CheckRun, Repository, now
from .results import Job, Run
from .staging import Ended
from .tokens import Level
from .workflows import Workflow

ANYWAY = ("always()", "cancelled()")  # a job whose `if` says one of them runs in a cancelled run too


@dataclass
class Runner:
    """Takes the jobs of a run in order. Files go into `folder`; `previous` is the run whose failed jobs run again."""

    executor: Executor
    folder: Path
    previous: Run | None = None
    cancelled: bool = field(default=False, init=False)

    @property
    def current(self) -> Run:
        """The run that this makes."""
        return self.executor.run

    @property
    def repository(self) -> Repository:
        """The repository that the run belongs to."""
        return self.executor.github.repositories[self.current.event.repository]

    def run(self, workflow: Workflow) -> Run:
        """Run all jobs of `workflow`, the one that the event starts."""
        started = time.monotonic()
        self.repository.runs[self.current.id] = self.current
        base = permissions.base(self.repository, workflow)
        permissions.check_calls(self.repository, self.current.event.sha, workflow)
        ended: dict[str, Ended] = {}
        for names in workflows.levels(workflow):
            with ThreadPoolExecutor() as side_by_side:
                found = side_by_side.map(partial(self._one, workflow, dict(ended), base), names)
            ended |= dict(zip(names, found, strict=True))
        self.current.conclusion = results.aggregate(ended.values())
        self.current.seconds = time.monotonic() - started
        return self.current

    def _one(self, workflow: Workflow, ended: Mapping[str, Ended], base: Mapping[str, Level], name: str) -> Ended:
        job = workflow["jobs"][name]
        grants = permissions.granted(job.get("permissions"), base)
        if "uses" in job:
            return self._call(workflow, name, ended, grants)
        place = self._place(name)
        files = {self._entry: staging.cut(workflow, name, ended, place / "out", cancelled=self.cancelled)}
        return self._job(name, name, place, files, job, grants)

    @property
    def _entry(self) -> str:
        return Path(self.current.path).name

    def _place(self, identifier: str) -> Path:
        place = self.folder / identifier.replace(" / ", "+").replace(" ", "-")
        (place / "out").mkdir(parents=True)
        return place

    def _call(self, workflow: Workflow, name: str, ended: Mapping[str, Ended], ceiling: Mapping[str, Level]) -> Ended:
        """Run the jobs of a called workflow; what the calling job comes to."""
        called = workflows.called(self.repository, self.current.event.sha, workflow["jobs"][name])
        inner: dict[str, Ended] = {}
        for one in workflows.order(called):
            place, declared = self._place(f"{name} / {one}"), called["jobs"][one]
            cut = staging.cut(called, one, inner, place / "out", cancelled=self.cancelled)
            files = self._with_caller(workflow, name, ended, place, cut)
            grants = permissions.nested(called, declared, ceiling)
            inner[one] = self._job(f"{name} / {one}", one, place, files, declared, grants)
            calling = results.read_probe(place / "out" / "caller.json", name)
            if calling and calling.result == "skipped":
                return self._skip(name, inner)
        result = results.aggregate(inner.values())
        if not called["on"]["workflow_call"].get("outputs"):
            return Ended(result)
        place = self._place(f"{name} / its outputs")
        files = self._with_caller(workflow, name, ended, place, staging.only_outputs(called, inner))
        return Ended(result, self.executor.outputs_of_call(name, place, files))

    def _with_caller(
        self, workflow: Workflow, name: str, ended: Mapping[str, Ended], place: Path, called: Workflow
    ) -> dict[str, Workflow]:
        caller = staging.cut_caller(workflow, name, ended, place / "out", cancelled=self.cancelled)
        return {self._entry: caller, Path(workflow["jobs"][name]["uses"]).name: called}

    def _skip(self, name: str, inner: Mapping[str, Ended]) -> Ended:
        """A calling job that is skipped is one job on GitHub, not one for each that it would have called."""
        gone = {self.current.jobs.pop(f"{name} / {one}").number for one in inner}
        self.repository.checks = [check for check in self.repository.checks if check.id not in gone]
        job = self.current.jobs[name] = Job(name, "skipped", completed_at=now())
        check = CheckRun(self.executor.github.next_id(), name, self.current.event.head_sha, conclusion="skipped")
        job.number = check.id
        self.repository.checks.append(check)
        return Ended("skipped")

    def _job(
        self, identifier: str, name: str, place: Path, files: Mapping[str, Workflow], declared: Mapping[str, Any],
        grants: Mapping[str, Level],
    ) -> Ended:  # fmt: skip
        earlier = self.previous.jobs.get(identifier) if self.previous else None
        if earlier and earlier.result == "success":
            self.current.jobs[identifier] = earlier
            return Ended("success", earlier.outputs)
        job = self.current.jobs[identifier] = Job(identifier, "cancelled")
        if self.cancelled and not any(word in str(declared.get("if", "")) for word in ANYWAY):
            return Ended("cancelled")
        running = self.executor.execute(job, name, place, files, declared, grants)
        self.cancelled = self.cancelled or running.cancelled
        return Ended(job.result, job.outputs)
