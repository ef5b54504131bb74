"""The command line, files and environment of one run of `act`."""

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .machine import Machine
from .staging import STUB_RUNNER
from .workflows import FOLDER, Workflow, WorkflowError, dump


@dataclass
class Invocation:
    """What one run of `act` is given. Of `files` (name → workflow) the first is the one that the event starts."""

    folder: Path
    files: Mapping[str, Workflow]
    event_name: str
    payload: Mapping[str, Any]
    actor: str
    context: Mapping[str, str]  # GITHUB_…
    secrets: Mapping[str, str]
    variables: Mapping[str, str]
    actions: Collection[str]  # "owner/name@ref" that the repository's workflows and actions use
    environment: Mapping[str, str]
    machine: Machine

    @property
    def out(self) -> Path:
        """Where probes write."""
        return self.folder / "out"

    def write(self, mark: str) -> list[str]:
        """Lay out the files; the command. `mark` is in the environment of every process of the job."""
        if " " in str(self.folder):
            raise WorkflowError(f"act cannot work in a folder with a space in its name: {self.folder}")
        workflows = self.folder / "repository" / FOLDER
        for folder in (workflows, self.out, self.folder / "home", self.folder / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        for name, workflow in self.files.items():
            (workflows / name).write_text(dump(workflow))
        options = {
            "-C": self._file("repository"), "-W": f"{FOLDER}/{next(iter(self.files))}", "--actor": self.actor,
            "--action-cache-path": self._file("runner"), "--container-daemon-socket": "-",
            "-e": self._file("event.json", self.payload), "--secret-file": self._file("secrets.yaml", self.secrets),
            "--var-file": self._file("vars.yaml", self.variables),
            "--env-file": self._file("env.yaml", {**self.context, "RUNNER_TRACKING_ID": mark}),
        }  # fmt: skip
        command = ["act", self.event_name, "--json", "--no-skip-checkout", "--no-cache-server", "--insecure-secrets"]
        command += [word for option in options.items() for word in option]
        command += [word for label in {*self.machine.labels, STUB_RUNNER} for word in ("-P", f"{label}=-self-hosted")]
        return command + [word for action in self.actions for word in ("--local-repository", self._double(action))]

    def _file(self, name: str, content: Mapping[str, Any] | None = None) -> str:
        if content is not None:
            (self.folder / name).write_text(json.dumps(dict(content)))  # JSON is YAML
        return str(self.folder / name)

    def _double(self, action: str) -> str:
        name = "/".join(action.partition("@")[0].split("/")[:2])
        if name not in self.machine.doubles:
            raise WorkflowError(f"there is no double of the action {name}: give Machine(doubles=…) a folder for it")
        return f"{action}={self.machine.doubles[name]}"

    def runner_environment(self) -> dict[str, str]:
        """A runner's environment. `act` gives steps a terminal, which GitHub does not: pagers are switched off."""
        return {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": self._file("home"), "TMPDIR": self._file("tmp"),
            "TERM": "dumb", "NO_COLOR": "1", "PAGER": "cat", "GIT_PAGER": "cat", "GH_PAGER": "cat",
            "RUNNER_ENVIRONMENT": "self-hosted", "RUNNER_NAME": "stand-in", "ACT_DISABLE_VERSION_CHECK": "1",
            "STANDIN_WORKSPACE": str(self.machine.work / self.folder.name) if self.machine.work else "",
            **self.environment,
        }  # fmt: skip
