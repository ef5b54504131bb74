"""What caused this run: read from GitHub's variables and payload in CI, from git on a laptop."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..errors import UserError
from . import git

NEVER = "0" * 40


@dataclass(frozen=True)
class Event:
    """A push, a pull request, a merge-queue entry, a schedule or a click, or a person at a laptop (`name` is empty)."""

    name: str
    commit: str
    champion: str | None
    branch: str | None = None
    pull_request: int | None = None
    fork: bool = False
    repository: str | None = None
    on_behalf: bool = False  # of a pull request that did not start this run

    @property
    def server(self) -> str:
        """Address of the GitHub that runs this."""
        return os.environ.get("GITHUB_SERVER_URL", "https://github.com")


def current() -> Event:
    """Tell what this run is for; `champion` is the commit whose model is to be beaten, None where git has none.

    A workflow that trains a pull request which did not start it, as a retraining does, names it in COMMIT, BRANCH and
    PULL_REQUEST. LAPTOP says that a runner is somebody's own machine, as under `make act`. Raises `UserError` if a
    variable that GitHub's runner sets is missing, or its file about the event is not GitHub's.
    """
    git.require_top()
    if not os.environ.get("GITHUB_ACTIONS") or os.environ.get("LAPTOP"):
        return Event(name="", commit=git.resolve("HEAD") or NEVER, champion=None)
    repository = os.environ.get("GITHUB_REPOSITORY")
    if number := os.environ.get("PULL_REQUEST"):
        if not number.isdecimal():
            raise UserError(f"PULL_REQUEST must be the number of a pull request, not {number!r}")
        return Event(
            name="pull_request",
            commit=_variable("COMMIT"),
            champion=git.resolve(f"origin/{git.default_branch()}"),
            branch=_variable("BRANCH"),
            pull_request=int(number),
            repository=repository,
            on_behalf=True,
        )
    path = Path(_variable("GITHUB_EVENT_PATH"))
    payload = files.read_mapping(path, git.OUTSIDE)
    try:
        return _told(payload, repository)
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path} does not say of the event what GitHub says of one: {git.OUTSIDE}") from None


def _told(payload: dict[str, Any], repository: str | None) -> Event:
    """Return the event of a payload; raise `KeyError`, `TypeError` or `AttributeError` if it is not GitHub's."""
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
    commit = _variable("GITHUB_SHA")
    return Event(
        name=_variable("GITHUB_EVENT_NAME"),
        commit=commit,
        champion=_before(payload, commit),
        branch=_variable("GITHUB_REF_NAME"),
        repository=repository,
    )


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise UserError(f"GITHUB_ACTIONS is set, but {name} is not: {git.OUTSIDE}") from None


def _before(payload: dict[str, Any], commit: str) -> str | None:
    """Return what a push replaced; for a schedule or a click the default branch, or on it the commit before."""
    if "before" in payload:
        return None if payload["before"] == NEVER else payload["before"]
    main = git.resolve(f"origin/{git.default_branch()}")
    return main if main != commit else git.resolve(f"{commit}^")
