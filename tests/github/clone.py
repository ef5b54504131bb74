"""A working copy of one user: git and gh run with the user's token, against the stand-in of GitHub alone."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .repository import PullRequest, Repository
from .server import GitHub
from .tokens import Token


@dataclass
class Clone:
    """A clone of `repository` in `folder`, which must not exist yet."""

    github: GitHub
    repository: Repository
    token: Token
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.git("init", "-q", f"--initial-branch={self.repository.default_branch}")
        self.git("remote", "add", "origin", self.github.url(self.repository))
        self.git("config", "credential.helper", '!f() { echo username=x-access-token; echo "password=$GH_TOKEN"; }; f')
        self.git("fetch", "-q", "origin")
        if self.repository.branch(self.repository.default_branch):
            self.git("switch", "-q", self.repository.default_branch)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of everything that runs here."""
        name, address = self.token.login, f"{self.token.login}@example.com"
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.folder.parent), "LANG": "C.UTF-8",
            "GIT_AUTHOR_NAME": name, "GIT_COMMITTER_NAME": name,
            "GIT_AUTHOR_EMAIL": address, "GIT_COMMITTER_EMAIL": address,
            **self.github.client_environment(self.token),
        }  # fmt: skip

    def attempt(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command that may fail."""
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, check=False, capture_output=True, text=True
        )

    def run(self, *command: str) -> str:
        """Run a command; its output."""
        done = self.attempt(*command)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def git(self, *arguments: str) -> str:
        """Run git; its output."""
        return self.run("git", *arguments)

    def commit(self, message: str, files: dict[str, str]) -> str:
        """Write files and commit everything; the new commit."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def push(self, branch: str) -> None:
        """Push HEAD to a branch."""
        self.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}")

    def open_pull(self, branch: str, files: dict[str, str]) -> PullRequest:
        """A pull request with these changes to main, in a branch of its own."""
        base = self.repository.default_branch
        self.git("switch", "-q", "-C", branch, f"origin/{base}")
        self.commit(f"Work on {branch}", files)
        self.push(branch)
        self.run("gh", "pr", "create", "--title", branch, "--body", "", "--base", base, "--head", branch)
        return self.repository.pulls[-1]
