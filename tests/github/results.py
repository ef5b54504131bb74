"""What came out of a run: jobs, steps, logs, and GitHub's JSON of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .events import Event
from .staging import Ended
from .tokens import Level

Line = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One step of a job: "success", "failure" (also where `continue-on-error` forgave it) or "skipped"."""

    name: str
    result: str
    seconds: float = 0.0


@dataclass
class Job:
    """One job. `log` is what the job wrote, unmasked; `summary` what it put into GITHUB_STEP_SUMMARY."""

    id: str
    result: str
    number: int = 0  # of its check run
    outputs: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    log: str = ""
    summary: str = ""
    labels: tuple[str, ...] = ()
    permissions: Mapping[str, Level] = field(default_factory=dict)
    seconds: float = 0.0
    started_at: str | None = None
    completed_at: str | None = None
    errors: list[str] = field(default_factory=list)  # its annotations
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def reveals(self, text: str) -> bool:
        """Whether `text` holds a secret of the job; words too short to be one do not count."""
        return any(secret in text for secret in self.secrets if len(secret) > 5)

    def to_json(self) -> dict[str, Any]:
        """The job in GitHub's JSON."""
        done = self.completed_at is not None
        return {
            "id": self.number, "name": self.id, "labels": list(self.labels), "started_at": self.started_at,
            "completed_at": self.completed_at, "status": "completed" if done else "in_progress",
            "conclusion": self.result if done else None,
            "check_run_url": f"https://api.github.com/check-runs/{self.number}",
        }  # fmt: skip

    def step(self, text: str) -> Step:
        """The first step whose name contains `text`."""
        return next(step for step in self.steps if text in step.name)


@dataclass
class Run:
    """One run of one workflow; `run["train / report"]` is a job."""

    id: int
    path: str
    event: Event
    jobs: dict[str, Job] = field(default_factory=dict)
    conclusion: str = ""
    seconds: float = 0.0
    attempt: int = 1

    def __getitem__(self, job: str) -> Job:
        return self.jobs[job]

    @property
    def log(self) -> str:
        """The logs of all jobs, one behind the other."""
        return "\n".join(f"=== {job.id}: {job.result} ===\n{job.log}" for job in self.jobs.values())

    def assert_no_secret_in_logs(self) -> None:
        """Fail if a job wrote a token or a secret, even one that GitHub would have starred."""
        for job in self.jobs.values():
            assert not job.reveals(job.log), f"{job.id} wrote a secret into its log"

    def to_json(self) -> dict[str, Any]:
        """The run in GitHub's JSON, with its jobs."""
        return {
            "id": self.id, "path": self.path, "event": self.event.name,
            "status": "completed" if self.conclusion else "in_progress", "conclusion": self.conclusion or None,
            "head_sha": self.event.head_sha, "run_attempt": self.attempt,
            "jobs": [job.to_json() for job in self.jobs.values()],
        }  # fmt: skip


def aggregate(ended: Iterable[Ended]) -> str:
    """What several jobs come to."""
    found = {one.result for one in ended}
    for worst in ("failure", "cancelled", "success"):
        if worst in found:
            return worst
    return "skipped"


def read_probe(file: Path, job: str) -> Ended | None:
    """What a probe wrote of a job's result and outputs; None where `act` never came to it."""
    if not file.exists():
        return None
    found = json.loads(file.read_text())[job]
    return Ended(found["result"], {key: value for key, value in (found["outputs"] or {}).items() if value})


def read_labels(file: Path) -> tuple[str, ...]:
    """What `runs-on` came to."""
    if not file.exists():
        return ()
    found = json.loads(file.read_text().splitlines()[0])
    if isinstance(found, dict):
        found = found.get("labels", [])
    return (found,) if isinstance(found, str) else tuple(found)


def read_lines(job: Job, lines: Iterable[Line], name: str, declared: list[Mapping[str, Any]]) -> None:
    """Fill a job's log, summary and steps from the log of `act`."""
    done: dict[str, Step] = {}
    for line in lines:
        if line.get("jobID") != name or line.get("dryrun"):
            continue
        text = line["msg"] if line["msg"].endswith("\n") else line["msg"] + "\n"
        if line.get("command") == "summary":
            job.summary += line["content"]
            continue
        if line.get("command") == "error":
            job.errors.append(line["arg"])
        if "LocalRepositoryCache" not in text:
            job.log += text
        where = line.get("stepID") or []
        if line.get("stage") == "Main" and "stepResult" in line and len(where) == 1:
            done[where[0]] = Step(line["step"], line["stepResult"], line.get("executionTime", 0) / 1e9)
    for position, step in enumerate(declared):
        title = str(step.get("name") or step.get("uses") or step.get("run"))
        job.steps.append(done.get(str(step.get("id", position)), Step(title, "skipped")))
