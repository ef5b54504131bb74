"""Work in a generated project as a person would: its own verbs, in its own environment, away from this one."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.bake import ROOT, git, outside, run


def borrow(project: Path, to: Path) -> None:
    """Give a project's folder the environment of another, which its verbs must not set up anew."""
    (to / ".venv").symlink_to(project / ".venv")
    keep_environment(to)


def keep_environment(folder: Path) -> None:
    """Make the files that describe a project's environment older than the environment, so that no verb changes it."""
    for name in ("pyproject.toml", "engine/pyproject.toml", "uv.lock"):
        if (folder / name).exists():
            os.utime(folder / name, (0, 0))


def clone(project: Path, to: Path) -> Path:
    """A fresh clone that borrows the environment of `project`, so that a test does not install it again."""
    git(project.parent, "clone", "-q", str(project), str(to))
    borrow(project, to)
    return to


def own_code(project: Path) -> dict[str, str]:
    """Variables for a project's programs: a borrowed environment would import the project that it was made for."""
    return outside() | {"PYTHONPATH": f"{project}/src:{project}/engine/src"}


def attempt(project: Path, *verb: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `make <verb>`; the caller judges the exit status."""
    return run(["make", *verb], project, **(own_code(project) | env))


def make(project: Path, *verb: str, **env: str) -> str:
    """What `make <verb>` prints; raises with all of it on failure."""
    done = attempt(project, *verb, **env)
    if done.returncode:
        raise RuntimeError(f"make {' '.join(verb)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def uv(project: Path, *arguments: str) -> str:
    """What uv prints in a project's folder; raises on failure."""
    program = shutil.which("uv") or str(ROOT / ".tools/bin/uv")
    done = run([program, *arguments], project, **(outside() | {"UV_PROJECT_ENVIRONMENT": str(project / ".venv")}))
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def python(project: Path, *arguments: str) -> str:
    """What the project's own Python prints; raises on failure."""
    done = run([str(project / ".venv/bin/python"), *arguments], project, **own_code(project))
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout
