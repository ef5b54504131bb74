"""What a verb tells the workflow that runs it; on a laptop nobody listens."""

import os
from fnmatch import fnmatchcase
from pathlib import Path

from .. import files

CI = Path(".github/workflows/ci.yaml")


def outputs(**values: str) -> None:
    """Hand values to the later steps and jobs."""
    _append("GITHUB_OUTPUT", "".join(f"{name}={value}\n" for name, value in values.items()))


def summarise(text: str) -> bool:
    """Put Markdown on the page of the run, and tell whether there is one."""
    return _append("GITHUB_STEP_SUMMARY", text)


def warn_unwatched(branch: str) -> None:
    """Warn, as an annotation of the run, if no push to the default branch starts ci.yaml: then nothing is released."""
    triggers = files.read_yaml(CI)["on"] if CI.exists() else {}
    named = (triggers.get("push") or {}).get("branches", ["*"]) if "push" in triggers else []
    if not any(fnmatchcase(branch, pattern) for pattern in named):
        print(f"::warning file={CI}::no push to the default branch {branch!r} starts this workflow: add it to on.push")


def _append(variable: str, text: str) -> bool:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a") as file:
            file.write(text)
    return bool(path)
