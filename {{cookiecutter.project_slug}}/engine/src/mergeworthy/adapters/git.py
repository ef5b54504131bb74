"""git: the repository's branches, commits and files, and the remote `origin`.

Every call of git goes through one of three functions. `run` raises `UserError` if git fails and has a deadline, so it
is the one for commands that write or that speak to the remote. `query` returns None if git fails. `_git` returns the
finished process, for functions that explain a failure in their own words or need bytes.
"""

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UserError
from ..files import read_mapping
from ..process import LOW_SPEED_LIMIT, Deadline, call

BOT = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (
        ("NAME", "github-actions[bot]"),
        ("EMAIL", "41898282+github-actions[bot]@users.noreply.github.com"),
    )
}
OUTSIDE_CI = "outside of GitHub's runner unset GITHUB_ACTIONS"  # how to fix variables that no runner of GitHub's set
# git sets them for hooks, and they name the hook's repository: see `git rev-parse --local-env-vars`.
REPOSITORY_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
REMOTE_COMMANDS = ("fetch", "ls-remote", "push")


def use_repository_of_folder() -> None:
    """Remove the variables by which git would read another repository than the one that this folder lies in.

    A gate that reads another repository finds no champion there, and would pass the model as the first.
    """
    for name in REPOSITORY_VARIABLES:
        os.environ.pop(name, None)


def run(*words: str, environment: Mapping[str, str] | None = None, text: str | None = None) -> str:
    """Run git with `text` as its input and return what it prints; raise `UserError` with git's reason if it fails."""
    name = f"git {words[0]}"
    server = f"origin ({name})" if words[0] in REMOTE_COMMANDS else name
    deadline = Deadline.ANSWER if words[0] == "ls-remote" else Deadline.EXCHANGE
    done = call(["git", *words], server, deadline, text=text, environment={**LOW_SPEED_LIMIT, **(environment or {})})
    if done.returncode:
        raise UserError(f"{name} failed: {' '.join((done.stderr or done.stdout).split()) or 'no reason'}")
    return done.stdout.rstrip("\n")


def query(*words: str) -> str | None:
    """Return what git prints about this clone; None if git fails, as it does outside a repository."""
    done = _git(*words)
    return done.stdout.decode(errors="replace").rstrip("\n") if done.returncode == 0 else None


def empty() -> bool:
    """Return whether no branch has a commit; raise `UserError` outside a repository."""
    done = _git("rev-list", "--all", "--max-count=1")
    if done.returncode:
        reason = _reason(done).removeprefix("fatal: ")
        raise UserError(f"git cannot read this folder's repository ({reason}): is this the project, after `git init`?")
    return not done.stdout


def default_branch() -> str:
    """Return the name of the repository's default branch.

    In CI the event's payload names it. On a laptop it is what the clone recorded of its remote. Without that record it
    is the first of `main`, `master` and git's own `init.defaultBranch` that exists, at the remote or else here; `main`
    if none exists.
    """
    payload = os.environ.get("GITHUB_EVENT_PATH") if os.environ.get("GITHUB_ACTIONS") else None
    if payload and Path(payload).is_file():
        repository = read_mapping(Path(payload), OUTSIDE_CI).get("repository")
        if isinstance(repository, dict) and (name := repository.get("default_branch")):
            return str(name)
    recorded = query("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
    if recorded is not None:
        return recorded.removeprefix("origin/")
    usual = ["main", "master", query("config", "--get", "init.defaultBranch")]
    for place in ("refs/remotes/origin", "refs/heads"):
        for name in filter(None, usual):
            if resolve(f"{place}/{name}"):
                return name
    return "main"


def require_top() -> None:
    """Raise `UserError` if this folder lies inside a repository, where neither GitHub nor DVC would find its files."""
    top = query("rev-parse", "--show-toplevel")
    if top and not Path(top).samefile("."):
        raise UserError(
            f"this folder is not the top of its git repository, which is {top}: run this in the project's own folder; "
            "a project is a repository of its own, as GitHub reads workflows at the top alone"
        )


def resolve(ref: str) -> str | None:
    """Return the commit that `ref` names; None if this clone has no such ref."""
    return query("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")


def read(commit: str, path: Path) -> str | None:
    """Return a file's text at a commit; None if that commit has no such file. Raise `UserError` if git fails."""
    listing = _git("ls-tree", commit, "--", str(path))
    if listing.returncode == 0 and not listing.stdout:
        return None
    content = _git("show", f"{commit}:./{path}")
    for done in (listing, content):
        _require_success(done, f"read {path} at {commit[:12]}")
    return content.stdout.decode(errors="replace")


def files(*paths: str) -> list[str]:
    """Return the sorted names of all files below these pathspecs that git tracks or would add."""
    done = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
    _require_success(done, "list this folder's files")
    return sorted({name for name in done.stdout.decode().split("\0") if name})


def newest(*paths: str) -> str | None:
    """Return the newest commit on this line of history that changed any of these pathspecs; None if none did."""
    return query("log", "-1", "--first-parent", "--format=%H", "--", *paths) or None


def history(commit: str, path: Path) -> list[str]:
    """Return the commits on the first-parent line of `commit` that changed a file, newest first."""
    done = _git("log", "--first-parent", "--format=%H", commit, "--", str(path))
    _require_success(done, f"read the history of {path}")
    return done.stdout.decode().split()


def is_shallow() -> bool:
    """Return whether the history ends where a shallow clone cut it off."""
    return query("rev-parse", "--is-shallow-repository") == "true"


def changed_lines(base: str) -> str:
    """Return `git diff --numstat` of this folder against a commit, entries ended by null; raise `UserError`."""
    done = _git("diff", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--relative", base, "--", ".")
    _require_success(done, f"compare with {base[:12]}")
    return done.stdout.decode(errors="replace")


def differs(commit: str, *paths: str) -> bool:
    """Return whether the folder's files below these paths differ from those at `commit`."""
    untracked = _git("ls-files", "--others", "--exclude-standard", "--", *paths)
    return bool(_git("diff", "--quiet", "--no-ext-diff", commit, "--", *paths).returncode or untracked.stdout)


def tree(commit: str, path: str) -> str | None:
    """Return the hash of a file or folder at a commit; None if the commit has none."""
    return query("rev-parse", "--verify", "--quiet", f"{commit}:./{path}")


def export(commit: str, folder: Path) -> None:
    """Write this folder's files as they are at `commit` into another folder; raise `UserError` if git fails."""
    done = _git("archive", "--format=tar", commit)
    _require_success(done, f"export {commit[:12]}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def is_ancestor(older: str, newer: str) -> bool:
    """Return whether `newer` contains every change of `older`."""
    return _git("merge-base", "--is-ancestor", older, newer).returncode == 0


def merge_base(first: str, second: str) -> str | None:
    """Return the commit at which two lines of history parted; None if they share none."""
    return query("merge-base", first, second)


def origin() -> tuple[str, str] | None:
    """Return host and owner/name of the remote `origin`; None if it is no repository on a server."""
    url = query("remote", "get-url", "origin")
    return None if url is None else parse(url, os.environ.get("GH_HOST"))


def parse(url: str, gh_host: str | None = None) -> tuple[str, str] | None:
    """Parse https://host/owner/name.git and git@host:owner/name; the setting `gh_host` of `gh` overrides the host."""
    if "://" in url:
        parts = urlsplit(url)
        host, path = parts.hostname, parts.path
        if parts.scheme not in ("http", "https", "ssh", "git"):
            return None
    else:
        short = re.fullmatch(r"(?:[^@/:]+@)?([^/:]+):(.+)", url)
        host, path = (short[1], short[2]) if short else (None, "")
    name = re.fullmatch(r"/?([^/]+/[^/]+?)(?:\.git)?/?", path)
    if not host or not name:
        return None
    return gh_host or host.removeprefix("ssh."), name[1]


def commit() -> str | None:
    """Return the commit that is checked out; None outside a repository and before the first commit."""
    return query("rev-parse", "--verify", "HEAD")


def _git(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *words], capture_output=True, check=False)


def _require_success(done: subprocess.CompletedProcess[bytes], action: str) -> None:
    if done.returncode:
        raise UserError(f"git cannot {action}: {_reason(done)}")


def _reason(done: subprocess.CompletedProcess[bytes]) -> str:
    return done.stderr.decode(errors="replace").strip()
