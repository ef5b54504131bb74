"""Running the workflows that an event starts, job by job, under `act` in host mode."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import workflows
from .events import Event
from .execution import Executor
from .machine import Machine
from .process import Watch
from .results import Run
from .runner import Runner
from .server import GitHub
from .workflows import FOLDER


def approve(event: Event) -> Event:
    """A person's click on "Approve and run"."""
    return replace(event, state="queued")


def run_event(
    github: GitHub,
    event: Event,
    machine: Machine | None = None,
    *,
    watch: Sequence[Watch] = (),
    previous: Run | None = None,
) -> list[Run]:
    """Run every workflow that `event` starts; with `previous`, run its jobs that did not succeed again.

    Raises WorkflowError where GitHub would refuse to start a run or a job finds no runner, and ValueError for an event
    that starts nothing by itself.
    """
    if event.state != "queued":
        raise ValueError(f"this event starts nothing: it is {event.state}")
    machine = machine or Machine()
    repository = github.repositories[event.repository]
    runs = []
    for path in repository.git("ls-tree", "--name-only", event.sha, f"{FOLDER}/").splitlines():
        workflow = workflows.load(repository.read(event.sha, path) or "")
        chosen = event.payload.get("workflow", path) == path and (previous is None or previous.path == path)
        if not chosen or not workflows.starts(workflow, event):
            continue
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=machine.keep))
        try:
            number, attempt = (previous.id, previous.attempt + 1) if previous else (github.next_id(), 1)
            run = Run(number, path, event, attempt=attempt)
            runs.append(Runner(Executor(github, run, machine, list(watch)), folder, previous).run(workflow))
        finally:
            if machine.keep is None:
                shutil.rmtree(folder, ignore_errors=True)
    return runs
