"""Generate projects as a user would, from what git would hand over of this working tree."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = "{{cookiecutter.project_slug}}"
BIN = Path(sys.executable).parent
Problems = Callable[[dict[str, str]], list[str]]  # what the hook says of a set of answers


def outside() -> dict[str, str]:
    """Variables for a command that must not see this environment: neither its tools nor the state of its make."""
    path = os.pathsep.join(entry for entry in os.environ["PATH"].split(os.pathsep) if Path(entry) != BIN)
    return {
        "PATH": path,
        "VIRTUAL_ENV": "",
        "UV_PROJECT_ENVIRONMENT": "",
        "MAKEFLAGS": "",
        "MAKELEVEL": "",
        "PYTHONPATH": "",
    }


def run(command: list[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run to the end and return; the caller judges the exit status."""
    return subprocess.run(command, cwd=cwd, env=os.environ | env, capture_output=True, text=True, check=False)


def git(cwd: Path, *arguments: str) -> str:
    """What git says, with an identity that needs no machine's settings; raises on failure."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "init.defaultBranch=main"]
    result = run(["git", *identity, *arguments], cwd)
    if result.returncode:
        raise RuntimeError(result.stderr)
    return result.stdout


def export(to: Path) -> Path:
    """Copy what git tracks or would track, so that no cache of a working tree reaches a project; commit it there."""
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    git(to, "init", "-q")
    git(to, "add", "-A")
    git(to, "commit", "-q", "-m", "the template")
    return to


def cookiecutter(template: Path, out: Path, **answers: str) -> subprocess.CompletedProcess[str]:
    """Run the command line without questions; `out` gets the project and, beside it, cookiecutter's own files."""
    out.mkdir(parents=True, exist_ok=True)
    config = out / ".cookiecutterrc"
    config.write_text(f"replay_dir: {out}/.replay\ncookiecutters_dir: {out}/.cookiecutters\n")
    options = ["--no-input", "--config-file", str(config), "--output-dir", str(out)]
    pairs = [f"{key}={value}" for key, value in answers.items()]
    return run([str(BIN / "cookiecutter"), *options, str(template), *pairs], out)


def bake(template: Path, out: Path, **answers: str) -> Path:
    """The generated project's folder; raises with cookiecutter's words where there is none."""
    result = cookiecutter(template, out, **answers)
    projects = [path for path in out.iterdir() if path.is_dir() and not path.name.startswith(".")]
    if result.returncode or len(projects) != 1:
        raise RuntimeError(result.stdout + result.stderr)
    return projects[0]


def files(root: Path) -> Iterator[Path]:
    """Every file below `root` but git's own, relative to it."""
    return (p.relative_to(root) for p in sorted(root.rglob("*")) if p.is_file() and ".git" not in p.parts)
