"""What a verb tells the workflow that runs it; on a laptop nobody listens."""

import os
from pathlib import Path


def outputs(**values: str) -> None:
    """Hand values to the later steps and jobs."""
    _append("GITHUB_OUTPUT", "".join(f"{name}={value}\n" for name, value in values.items()))


def summarise(text: str) -> bool:
    """Put Markdown on the page of the run, and tell whether there is one."""
    return _append("GITHUB_STEP_SUMMARY", text)


def _append(variable: str, text: str) -> bool:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a") as file:
            file.write(text)
    return bool(path)
