"""A pull request on a double of GitHub, which is one JSON file, with `gh` and optionally `cml` on the PATH."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DOUBLES = Path(__file__).parent / "doubles"
TOKEN = "ghs_nobodyMayReadThis"  # noqa: S105
BOT = {"login": "github-actions[bot]", "type": "Bot"}


@dataclass
class PullRequest:
    """Pull request 5 of o/r, during run 77 of a workflow."""

    folder: Path
    summary: Path

    @property
    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "github.json").read_text()))

    def change(self, **keys: Any) -> None:
        (self.folder / "github.json").write_text(json.dumps(self.state | keys))

    def cml(self, *, installed: bool) -> None:
        install_double(self.folder / "bin", "cml") if installed else (self.folder / "bin/cml").unlink(missing_ok=True)

    def add_comments(self, *bodies: str, user: str = "someone") -> None:
        comments = self.state["comments"]
        for body in bodies:
            person = {"login": user, "type": "User"}
            comments.append({"id": len(comments) + 1, "body": body, "user": person, "author_association": "NONE"})
        self.change(comments=comments)

    def our_comments(self) -> list[str]:
        return [comment["body"] for comment in self.state["comments"] if comment["user"] == BOT]


def install_double(folder: Path, name: str) -> None:
    """Write an executable that runs the double of a program."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{DOUBLES / name}.py" "$@"\n')
    path.chmod(0o755)


def open_pull_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch, head: str = "0" * 40, base: str = "0" * 40
) -> PullRequest:
    """Set the environment as GitHub does for a job of a pull request; no real `cml` is on the PATH."""
    (folder / "bin").mkdir(parents=True)
    repository = {"full_name": "o/r"}
    pull = {
        "number": 5,
        "head": {"sha": head, "ref": "work", "repo": repository},
        "base": {"sha": base, "ref": "main"},
    }
    state = {"pull_request": 5, "comments": [], "jobs": [], "checks": [], "check_runs": [], "sent_by": []}
    state |= {"cml": "works", "gh": "works", "me": BOT}
    (folder / "github.json").write_text(json.dumps(state))
    (folder / "event.json").write_text(json.dumps({"pull_request": pull}))
    path = [str(folder / "bin"), *(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "cml").exists())]
    for name, value in {
        "PATH": os.pathsep.join(path),
        "HOME": folder,  # cml writes into it
        "GITHUB_DOUBLE": folder / "github.json",
        "GITHUB_ACTIONS": "true",
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": folder / "event.json",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_RUN_ID": "77",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_STEP_SUMMARY": folder / "summary.md",
        "GH_TOKEN": TOKEN,
    }.items():
        monkeypatch.setenv(name, str(value))
    install_double(folder / "bin", "gh")
    return PullRequest(folder, folder / "summary.md")
