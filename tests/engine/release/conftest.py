"""A repository with a remote on disk, and releases of its commits."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from mergeworthy.release.publish import ENVIRONMENTS, Release, overlay_file


@dataclass(frozen=True)
class Repository:
    """A clone that is the working directory, and its bare remote."""

    folder: Path
    remote: Path

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, name: str) -> str:
        """Commit a file, and push it to main."""
        self.git("pull", "-q", "--rebase", "origin", "main")
        (self.folder / name).write_text(name)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", name)
        self.git("push", "-q", "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def merge(self, branch: str) -> str:
        """Merge a pull request as a person does; its commit on main."""
        self.git("fetch", "-q", "origin")
        self.git("switch", "-q", "-C", "main", "origin/main")
        self.git("merge", "-q", "--no-ff", "-m", f"Merge {branch}", f"origin/{branch}")
        self.git("push", "-q", "origin", "main")
        return self.git("rev-parse", "HEAD")

    def read(self, environment: str) -> str:
        """An overlay's release as the remote's main has it."""
        self.git("fetch", "-q", "origin")
        return self.git("show", f"origin/main:{overlay_file(environment)}")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """One commit, in which nothing was released yet."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Alice")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "alice@example.org")
    for name in ("GITHUB_ACTIONS", "GITHUB_REPOSITORY"):
        monkeypatch.delenv(name, raising=False)
    made = Repository(tmp_path / "clone", tmp_path / "remote.git")
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(made.remote)], check=True)
    subprocess.run(["git", "clone", "-q", str(made.remote), str(made.folder)], check=True, capture_output=True)
    for environment in ENVIRONMENTS:
        file = made.folder / overlay_file(environment)
        file.parent.mkdir(parents=True)
        file.write_text("kind: Component\ncommonAnnotations: {model/commit: none}\n")
    (made.folder / "bentofile.yaml").write_text("include: [model-1, model-2]")
    (made.folder / ".bentoignore").touch()
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "Start")
    made.git("push", "-q", "origin", "HEAD:main")
    made.git("switch", "-q", "-C", "main")
    monkeypatch.chdir(made.folder)
    return made


def release(commit: str, digest: str = "a") -> Release:
    """The release of a commit."""
    return Release(
        "ghcr.io/acme/flights", f"sha256:{digest * 64}", commit, f"lock-{commit[:7]}", "data", "2013-06", "pass"
    )
