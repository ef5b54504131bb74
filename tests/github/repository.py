"""One repository as GitHub holds it: a bare git repository, its pull requests, issues, checks and settings."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .results import Run

HOOK = Path(__file__).parent / "update-hook.sh"
ZERO = "0" * 40


def now() -> str:
    """The present moment as GitHub writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Comment:
    """A comment on an issue or a pull request."""

    id: int
    author: str
    body: str
    created_at: str = field(default_factory=now)
    updated_at: str = field(default_factory=now)


@dataclass
class Issue:
    """An issue, or what a pull request shares with issues: number, title, body, labels, comments."""

    number: int
    author: str
    title: str
    body: str
    state: str = "open"
    labels: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    created_at: str = field(default_factory=now)


@dataclass
class PullRequest(Issue):
    """A pull request; `head_repository` differs from the base's where it comes from a fork."""

    head_repository: str = ""
    head: str = ""
    base: str = "main"
    head_sha: str = ""
    merge_sha: str | None = None
    merged: bool = False
    draft: bool = False
    closed_at: str | None = None


@dataclass
class CheckRun:
    """A check on a commit. `app` is "github-actions" for those that jobs make."""

    id: int
    name: str
    head_sha: str
    status: str = "completed"
    conclusion: str | None = None
    output: dict[str, Any] = field(default_factory=dict)
    details_url: str = ""
    app: str = "github-actions"


@dataclass
class Organization:
    """What the repositories of one owner share."""

    variables: dict[str, str] = field(default_factory=dict)
    runners: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass
class Environment:
    """An environment of Actions: its secrets, and the branches whose jobs may use it; None leaves it open to all."""

    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    branches: tuple[str, ...] | None = None
    rules: list[dict[str, Any]] = field(default_factory=list)  # waiting time and reviewers

    def refuses(self, ref: str) -> bool:
        """Whether a job of this ref may not use the environment."""
        return self.branches is not None and ref not in [f"refs/heads/{branch}" for branch in self.branches]


@dataclass
class Repository:
    """State of one repository; `lock` serialises pushes, as GitHub does."""

    full_name: str
    path: Path
    id: int
    parent: str | None = None
    default_branch: str = "main"
    protected: dict[str, tuple[str, ...]] = field(default_factory=dict)
    issues: dict[int, Issue] = field(default_factory=dict)
    checks: list[CheckRun] = field(default_factory=list)
    statuses: list[dict[str, Any]] = field(default_factory=list)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    dependabot_secrets: dict[str, str] = field(default_factory=dict, repr=False)
    environments: dict[str, Environment] = field(default_factory=dict)
    forks_get_secrets_and_variables: bool = False  # a setting of private repositories
    signed: set[str] = field(default_factory=set)  # branches that take signed commits alone
    code_owner_reviews: bool = False  # of protected branches, as is the next one
    up_to_date: bool = False
    runners: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[int, "Run"] = field(default_factory=dict)
    releases: dict[str, dict[str, bytes]] = field(default_factory=dict)  # tag → file → content
    organization: Organization | None = None
    default_permissions: str = "read"
    actions_may_open_pulls: bool = False
    private: bool = False
    free: bool = False  # GitHub Free: a private repository has neither rules nor environments
    rulesets: dict[int, dict[str, Any]] = field(default_factory=dict)
    forks: dict[str, Any] = field(default_factory=dict)  # the settings of their workflows, which differ from GitHub's
    security: dict[str, bool] = field(default_factory=dict)  # which of GitHub's own checks are on
    package: str | None = None  # the repository that GHCR links the image's package with; None without a package
    lock: RLock = field(default_factory=RLock, repr=False)

    def create(self) -> None:
        """Make the bare repository by GitHub's rules: pull refs are read-only, any commit can be fetched by its id."""
        self.git(
            "init", "-q", "--bare", f"--initial-branch={self.default_branch}", str(self.path), cwd=self.path.parent
        )
        for key, value in (("http.receivepack", "true"), ("receive.hideRefs", "refs/pull"),
                           ("uploadpack.allowAnySHA1InWant", "true"), ("uploadpack.allowFilter", "true"),
                           ("gc.auto", "0")):  # fmt: skip
            self.git("config", key, value)
        hook = self.path / "hooks" / "update"
        hook.write_text(HOOK.read_text())
        hook.chmod(0o755)

    def git(
        self, *arguments: str, cwd: Path | None = None, check: bool = True, text: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        """Run git in the bare repository, with `text` as its input; its standard output, stripped."""
        command = ["git", "-c", "user.name=GitHub", "-c", "user.email=noreply@github.com", *arguments]
        done = subprocess.run(
            command, cwd=cwd or self.path, env={**os.environ, **(environment or {})}, input=text, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"git {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def refs(self) -> dict[str, str]:
        """Every branch and tag with the commit it names."""
        listing = self.git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
        return dict(line.split(" ") for line in listing.splitlines())

    def branch(self, name: str) -> str | None:
        """The commit that a branch names, or None."""
        return self.git("rev-parse", "--verify", "-q", f"refs/heads/{name}", check=False) or None

    def read(self, revision: str, path: str) -> str | None:
        """Text of a file in a commit, or None."""
        done = subprocess.run(
            ["git", "show", f"{revision}:{path}"], cwd=self.path, check=False, capture_output=True, text=True
        )
        return done.stdout if done.returncode == 0 else None

    @property
    def pulls(self) -> list[PullRequest]:
        """All pull requests, oldest first."""
        return [issue for issue in self.issues.values() if isinstance(issue, PullRequest)]
