"""What a verb tells the workflow that runs it; on a laptop nobody listens."""

import os
import uuid
from fnmatch import fnmatchcase
from pathlib import Path

from .. import files
from ..text import annotation

CI = Path(".github/workflows/ci.yaml")


def outputs(**values: str) -> None:
    """Hand values to the later steps and jobs, whole: no value can end itself and begin another output."""
    _append("GITHUB_OUTPUT", "".join(_output(name, value) for name, value in values.items()))


def summarise(text: str) -> bool:
    """Put Markdown on the page of the run, and tell whether there is one."""
    return _append("GITHUB_STEP_SUMMARY", text)


def _output(name: str, value: str) -> str:
    if len(value.splitlines()) <= 1 and not value.endswith(("\n", "\r")):
        return f"{name}={value}\n"
    end = f"end-{uuid.uuid4()}"
    return f"{name}<<{end}\n{value}\n{end}\n"


def warn_unwatched(branch: str) -> None:
    """Warn, as an annotation of the run, if no push to the default branch starts ci.yaml: then nothing is released."""
    triggers = files.read_yaml(CI)["on"] if CI.exists() else {}
    named = (triggers.get("push") or {}).get("branches", ["*"]) if "push" in triggers else []
    if not any(fnmatchcase(branch, pattern) for pattern in named):
        told = f"no push to the default branch {branch!r} starts this workflow: add it to on.push"
        print(annotation("warning", told, CI))


def _append(variable: str, text: str) -> bool:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    return bool(path)
