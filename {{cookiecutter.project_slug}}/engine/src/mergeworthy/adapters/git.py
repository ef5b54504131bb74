"""What the gate and the plan must know of the repository, asked of git itself."""

import io
import os
import re
import subprocess
import tarfile
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import UserError
from ..files import md5, read_mapping
from ..paths import DATA_DVC, LOCK, MODEL
from . import dvc_files

BOT = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (
        ("NAME", "github-actions[bot]"),
        ("EMAIL", "41898282+github-actions[bot]@users.noreply.github.com"),
    )
}

OUTSIDE = "outside of GitHub's runner unset GITHUB_ACTIONS"  # what to do if the runner's variables are not its own


def _git_git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], capture_output=True, check=False)


def empty() -> bool:
    """Tell whether nothing has been committed on any branch; raise `UserError` outside a repository."""
    done = _git_git("rev-list", "--all", "--max-count=1")
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().removeprefix("fatal: ")
        raise UserError(f"git cannot read this folder's repository ({reason}): is this the project, after `git init`?")
    return not done.stdout


def default_branch() -> str:
    """Return the name of the repository's default branch.

    In CI the event's payload says it. On a laptop it is what a clone noted of its remote; or else `main`, `master` or
    git's own `init.defaultBranch`, whichever exists, at the remote before here; `main` if none does.
    """
    payload = os.environ.get("GITHUB_EVENT_PATH") if os.environ.get("GITHUB_ACTIONS") else None
    if payload and Path(payload).is_file():
        repository = read_mapping(Path(payload), OUTSIDE).get("repository")
        if isinstance(repository, dict) and (name := repository.get("default_branch")):
            return str(name)
    noted = _git_git("symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
    if noted.returncode == 0:
        return noted.stdout.decode().strip().removeprefix("origin/")
    usual = ["main", "master", _git_git("config", "--get", "init.defaultBranch").stdout.decode().strip()]
    for place in ("refs/remotes/origin", "refs/heads"):
        for name in filter(None, usual):
            if resolve(f"{place}/{name}"):
                return name
    return "main"


def require_top() -> None:
    """Raise `UserError` if this folder lies inside a repository, where neither GitHub nor DVC would find its files."""
    done = _git_git("rev-parse", "--show-toplevel")
    top = done.stdout.decode().strip()
    if done.returncode == 0 and top and not Path(top).samefile("."):
        raise UserError(
            f"this folder is not the top of its git repository, which is {top}: run this in the project's own folder; "
            "a project is a repository of its own, as GitHub reads workflows at the top alone"
        )


def resolve(ref: str) -> str | None:
    """Give the commit that `ref` names, or None where no such ref is known here."""
    done = _git_git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    return done.stdout.decode().strip() if done.returncode == 0 else None


def read(commit: str, path: Path) -> str | None:
    """Give a file's text at a commit, or None where that commit has no such file; raise `UserError` if git fails."""
    listed = _git_git("ls-tree", commit, "--", str(path))
    if listed.returncode == 0 and not listed.stdout:
        return None
    shown = _git_git("show", f"{commit}:./{path}")
    if listed.returncode or shown.returncode:
        reason = (listed.stderr or shown.stderr).decode(errors="replace").strip()
        raise UserError(f"git cannot read {path} at {commit[:12]}: {reason}")
    return shown.stdout.decode(errors="replace")


def files(*paths: str) -> list[str]:
    """Give the names of all files below these pathspecs that git has or would take, sorted."""
    done = _git_git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
    if done.returncode:
        raise UserError(f"git cannot list this folder's files: {done.stderr.decode(errors='replace').strip()}")
    return sorted({name for name in done.stdout.decode().split("\0") if name})


def newest(*paths: str) -> str | None:
    """Give the newest commit on this line of history that changed any of these pathspecs; None where none did."""
    return _git_git("log", "-1", "--first-parent", "--format=%H", "--", *paths).stdout.decode().strip() or None


def history(commit: str, path: Path) -> list[str]:
    """Return the commits on the first-parent line of `commit` that changed a file, newest first."""
    done = _git_git("log", "--first-parent", "--format=%H", commit, "--", str(path))
    if done.returncode:
        raise UserError(f"git cannot read the history of {path}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode().split()


def is_shallow() -> bool:
    """Return whether the history ends where a shallow clone cut it off."""
    return _git_git("rev-parse", "--is-shallow-repository").stdout.strip() == b"true"


def differs(commit: str, *paths: str) -> bool:
    """Return whether anything below these paths, as it is in the folder, is other than at `commit`."""
    new = _git_git("ls-files", "--others", "--exclude-standard", "--", *paths)
    return bool(_git_git("diff", "--quiet", "--no-ext-diff", commit, "--", *paths).returncode or new.stdout)


def tree(commit: str, path: str) -> str | None:
    """Return the hash of a file or folder at a commit, or None if it has none."""
    done = _git_git("rev-parse", "--verify", "--quiet", f"{commit}:./{path}")
    return done.stdout.decode().strip() if done.returncode == 0 else None


def export(commit: str, folder: Path) -> None:
    """Write this folder's files as they are at `commit` into another one; raise `UserError` if git fails."""
    done = _git_git("archive", "--format=tar", commit)
    if done.returncode:
        raise UserError(f"git cannot export {commit[:12]}: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def is_ancestor(older: str, newer: str) -> bool:
    """Tell whether `newer` holds everything that `older` does."""
    return _git_git("merge-base", "--is-ancestor", older, newer).returncode == 0


def merge_base(one: str, other: str) -> str | None:
    """Give the commit where two lines of history parted, or None where they share none."""
    done = _git_git("merge-base", one, other)
    return done.stdout.decode().strip() if done.returncode == 0 else None


# DOC adapters.origin: Which repository on which GitHub this checkout belongs to.


def origin() -> tuple[str, str] | None:
    """Host and owner/name of the remote `origin`, or None where it is no repository on a server."""
    done = subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True, check=False)
    return parse(done.stdout.strip(), os.environ.get("GH_HOST")) if done.returncode == 0 else None


def parse(url: str, gh_host: str | None = None) -> tuple[str, str] | None:
    """Read https://host/owner/name.git and git@host:owner/name; `gh_host` is gh's own setting and wins."""
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


# DOC adapters.lineage: What a model was made from, read from git and DVC's text files; runs, versions and images
# carry it as tags.


def commit() -> str | None:
    """The commit that is checked out; None where this is no repository or has none yet."""
    return _lineage_git("rev-parse", "--verify", "HEAD")


def lineage() -> dict[str, str]:
    """Tags: commit, branch, dirty (is more than dvc.lock uncommitted?), and hashes of lock, data and model."""
    lock = dvc_files.read(LOCK)
    branch = (
        _lineage_git("branch", "--show-current")
        or os.environ.get("GITHUB_HEAD_REF")
        or os.environ.get("GITHUB_REF_NAME")
    )
    tags = {
        "commit": commit(),
        "branch": branch,
        "dirty": str(bool(_lineage_git("status", "--porcelain", "--", ".", f":(exclude){LOCK}"))).lower(),
        "lock": md5(LOCK),
        "data": dvc_files.read(DATA_DVC)["outs"][0]["md5"],
        "model": dvc_files.outs(lock).get(MODEL.as_posix()),
    }
    return {name: value for name, value in tags.items() if value}


def _lineage_git(*words: str) -> str | None:
    """Ask git; None where this is no repository or has no commit yet."""
    answer = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None
