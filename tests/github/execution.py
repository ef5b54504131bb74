"""One job: its token, its process of `act`, its check on the commit, and how it ended."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import permissions, process, results
from .invocation import Invocation
from .machine import Machine
from .process import Line, Running, Watch
from .repository import CheckRun, Environment, now
from .results import Job, Run
from .server import GitHub
from .staging import Ended
from .tokens import Level
from .workflows import Workflow, WorkflowError

BOT, DEPENDABOT = "github-actions[bot]", "dependabot[bot]"


@dataclass
class Executor:
    """Runs the jobs of one run."""

    github: GitHub
    run: Run
    machine: Machine
    watch: list[Watch]

    def execute(
        self, job: Job, name: str, place: Path, files: Mapping[str, Workflow], declared: Mapping[str, Any],
        grants: Mapping[str, Level],
    ) -> Running:  # fmt: skip
        """Run the job that `files` were cut for, with a token that has just its grants, and fill `job`."""
        event, repository = self.run.event, self.github.repositories[self.run.event.repository]
        job.permissions = permissions.capped(grants, "read") if event.fork else dict(grants)
        token = self.github.token("actions", BOT, event.repository, permissions=job.permissions)
        secrets = {**self._secrets(declared), "GITHUB_TOKEN": token.value}
        files = self._refused(files, name, declared)
        job.secrets = frozenset(secrets.values())
        check = CheckRun(self.github.next_id(), job.id, event.head_sha, "in_progress")
        repository.checks.append(check)
        job.number, job.started_at = check.id, now()
        clock = _Clock(job.id, name, self.watch)
        try:
            running = process.run(self.invocation(place, files, secrets), clock.see, self.machine.seconds)
        finally:
            self.github.revoke(token)
        job.seconds = clock.seconds
        results.read_lines(job, running.lines, name, declared["steps"])
        job.labels = results.read_labels(place / "out" / "runs-on.jsonl")
        ended = self._judge(place / "out", name, running, job)
        job.result, job.outputs, job.completed_at = ended.result, ended.outputs, now()
        if job.result == "failure":
            job.errors.append("Process completed with exit code 1.")
        check.status, check.conclusion = "completed", ended.result
        return running

    def _environment(self, declared: Mapping[str, Any]) -> Environment | None:
        """The environment that a job names; GitHub makes one that nobody made, open to every branch."""
        named = declared.get("environment")
        name = named.get("name") if isinstance(named, dict) else named
        environments = self.github.repositories[self.run.event.repository].environments
        return environments.setdefault(str(name), Environment()) if name else None

    def _secrets(self, declared: Mapping[str, Any]) -> dict[str, str]:
        """What a job may read: the repository's, its environment's, for Dependabot its own, for a fork none."""
        event, repository = self.run.event, self.github.repositories[self.run.event.repository]
        if event.fork and not repository.forks_get_secrets_and_variables:
            return {}
        if event.actor == DEPENDABOT:
            return repository.dependabot_secrets
        environment = self._environment(declared)
        held = environment.secrets if environment and not environment.refuses(event.ref) else {}
        return {**repository.secrets, **held}

    def _refused(self, files: Mapping[str, Workflow], name: str, declared: Mapping[str, Any]) -> Mapping[str, Workflow]:
        """The workflows, in which a job whose environment is closed to this ref fails with GitHub's words."""
        environment, ref = self._environment(declared), self.run.event.ref
        if environment is None or not environment.refuses(ref):
            return files
        says = f'Branch "{ref.removeprefix("refs/heads/")}" is not allowed to deploy to {declared["environment"]}'
        step = {"run": f"echo '::error::{says} due to environment protection rules.'; exit 1"}
        return {
            file: {**workflow, "jobs": {
                one: {**job, "steps": [step]} if one == name and "steps" in job else job
                for one, job in workflow["jobs"].items()
            }}
            for file, workflow in files.items()
        }  # fmt: skip

    def outputs_of_call(self, name: str, place: Path, files: Mapping[str, Workflow]) -> dict[str, str]:
        """The outputs of the called workflow in `files`, whose jobs are all stubs."""
        running = process.run(self.invocation(place, files, {}), lambda *_: None, 60)
        found = results.read_probe(place / "out" / "caller.json", name)
        if found is None:
            raise WorkflowError(f"act could not evaluate the outputs of {name}: {running.errors}")
        return found.outputs

    def _judge(self, out: Path, name: str, running: Running, job: Job) -> Ended:
        found = results.read_probe(out / "needs.json", name)
        if running.killed:
            return Ended("failure")
        if running.cancelled:
            return Ended("cancelled", found.outputs if found else {})
        if found is None and (out / "caller.json").exists():
            return Ended("skipped")  # the calling job did not even start
        if found is None:
            raise WorkflowError(f"act could not run the job {job.id}: {running.errors.strip()}\n{job.log}")
        if found.result == "skipped":
            return Ended("skipped")
        if not self.machine.has_runner(job.labels):
            raise WorkflowError(f"the job {job.id} would wait for ever: no runner has the labels {list(job.labels)}")
        return Ended(found.result, {key: value for key, value in found.outputs.items() if not job.reveals(value)})

    def invocation(self, place: Path, files: Mapping[str, Workflow], secrets: Mapping[str, str]) -> Invocation:
        """What `act` is given for this run."""
        event, repository = self.run.event, self.github.repositories[self.run.event.repository]
        pull = event.payload.get("pull_request") or {"head": {"ref": ""}, "base": {"ref": ""}}
        context = {
            "GITHUB_REPOSITORY": event.repository, "GITHUB_REPOSITORY_OWNER": event.repository.split("/")[0],
            "GITHUB_REF": event.ref, "SHA_REF": event.sha, "GITHUB_RUN_ID": str(self.run.id),
            "GITHUB_RUN_NUMBER": str(self.run.id), "GITHUB_RUN_ATTEMPT": str(self.run.attempt),
            "GITHUB_HEAD_REF": pull["head"]["ref"], "GITHUB_BASE_REF": pull["base"]["ref"],
        }  # fmt: skip
        shared = repository.organization.variables if repository.organization else {}
        bare = event.fork and not repository.forks_get_secrets_and_variables
        variables = {} if bare else shared | repository.variables
        environment = {**self.github.client_environment(), **self.machine.environment}
        used = repository.git("grep", "-hE", r"^[ -]*uses:", event.sha, "--", ".github", check=False)
        actions = set(re.findall(r"uses:\s*[\"']?([\w.-]+/[\w./-]+@[\w.-]+)", used))
        return Invocation(
            place, files, event.name, event.payload, event.actor, context, secrets, variables, actions, environment,
            self.machine,
        )  # fmt: skip


@dataclass
class _Clock:
    """Times a job by its own lines, so that stubs do not count, and does what is watched for."""

    identifier: str
    name: str
    watch: list[Watch]
    first: float = 0.0
    last: float = 0.0

    @property
    def seconds(self) -> float:
        return self.last - self.first

    def see(self, running: Running, line: Line) -> None:
        if line.get("jobID") != self.name:
            return
        self.last = time.monotonic()
        self.first = self.first or self.last
        for one in [one for one in self.watch if line.get("raw_output") and one.job == self.identifier]:
            if one.text in line["msg"]:
                self.watch.remove(one)
                one.then(running)
