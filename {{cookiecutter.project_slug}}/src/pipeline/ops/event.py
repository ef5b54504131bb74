"""What caused this run: read from GitHub's variables and payload in CI, from git on a laptop."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import git

NEVER = "0" * 40


@dataclass(frozen=True)
class Event:
    """A push, a pull request, a merge-queue entry, or a person at a laptop (`name` is empty)."""

    name: str
    commit: str
    champion: str | None
    branch: str | None = None
    pull_request: int | None = None
    fork: bool = False
    repository: str | None = None

    @property
    def server(self) -> str:
        """Address of the GitHub that runs this."""
        return os.environ.get("GITHUB_SERVER_URL", "https://github.com")


def current() -> Event:
    """Tell what this run is for; `champion` is the commit whose model is to be beaten, None where git has none."""
    name = os.environ.get("GITHUB_EVENT_NAME", "") if os.environ.get("GITHUB_ACTIONS") else ""
    payload: dict[str, Any] = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text()) if name else {}
    repository = os.environ.get("GITHUB_REPOSITORY")
    if pull := payload.get("pull_request"):
        return Event(
            name="pull_request",
            commit=pull["head"]["sha"],
            champion=git.resolve(f"origin/{pull['base']['ref']}") or pull["base"]["sha"],
            branch=pull["head"]["ref"],
            pull_request=pull["number"],
            fork=(pull["head"]["repo"] or {}).get("full_name") != repository,
            repository=repository,
        )
    if group := payload.get("merge_group"):
        return Event(name="merge_group", commit=group["head_sha"], champion=group["base_sha"], repository=repository)
    if name:
        before = payload.get("before", NEVER)
        branch = os.environ["GITHUB_REF_NAME"]
        champion = None if before == NEVER else before
        return Event(
            name=name, commit=os.environ["GITHUB_SHA"], champion=champion, branch=branch, repository=repository
        )
    return Event(name="", commit=git.resolve("HEAD") or NEVER, champion=None)
