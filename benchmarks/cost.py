"""Latency: generation, set-up, the pipeline by DVC, and one month more. Each beside what it replaces.

    python -m benchmarks.cost PROJECT     (a generated project with its environment and its data)

Both sides of a line start from the same empty caches and include the imports. Prints a Markdown table; exits 1 where a
limit is not kept.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bake import bake, export, outside

STAGES = """
from mergeworthy.stages import evaluate, features, reference, train, validate
for stage in (validate, features, train, evaluate, reference):
    stage.main()
"""
SLACK = float(os.environ.get("SLACK", "1"))  # a busy machine is given more
FEATURES = ("python", "-m", "mergeworthy.stages.features")


@dataclass(frozen=True)
class Line:
    """Seconds of ours and of what stands beside it; `most` limits their ratio, or our seconds where `alone`."""

    what: str
    ours: float
    beside: str
    theirs: float
    most: float
    alone: bool = False

    @property
    def kept(self) -> bool:
        """Whether the limit is kept."""
        return (self.ours if self.alone else self.ours / self.theirs) <= self.most * SLACK

    def __str__(self) -> str:
        """Return the row of the table."""
        limit = f"{self.most} {'s' if self.alone else '×'}"
        ratio = f"{self.ours / self.theirs:.2f} ×" if self.theirs else ""
        theirs = f"{self.beside}: {self.theirs:.1f} s" if self.theirs else self.beside
        return f"| {self.what} | {self.ours:.1f} s | {theirs} | {ratio} | {limit}{'' if self.kept else ', missed'} |"


def seconds(folder: Path, *command: str) -> float:
    """Wall time of a command in a project and its environment; raises where it fails."""
    path = f"{folder / '.venv/bin'}{os.pathsep}{outside()['PATH']}"
    environment = os.environ | outside() | {"PATH": path, "DVC_NO_ANALYTICS": "1"}
    environment["PYTHONPATH"] = f"{folder}/src:{folder}/engine/src"
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def begin(folder: Path) -> list[Line]:
    """Generate a project, and set it up by its verb and by uv alone."""
    template = export(folder / "template")
    started = time.perf_counter()
    ours = bake(template, folder / "ours")
    generated = time.perf_counter() - started
    bare = bake(template, folder / "bare")
    seconds(bare, "uv", "sync", "--quiet")  # what only the first set-up pays: downloads
    shutil.rmtree(bare / ".venv")
    (bare / "uv.lock").unlink()
    offline = ("env", "UV_OFFLINE=1")  # the network's share differs from run to run
    alone, verb = seconds(bare, *offline, "uv", "sync", "--quiet"), seconds(ours, *offline, "make", "setup")
    return [
        Line("generate a project", generated, "", 0, 1, alone=True),
        Line("`make setup`, packages cached", verb, "`uv sync`", alone, 1.2),
    ]


def work(project: Path, copy: Path) -> list[Line]:
    """Run the pipeline in a copy of a project, whole and with nothing to do, and add a month."""
    kept_out = shutil.ignore_patterns(".venv", ".cache", "cache", "tmp")
    shutil.copytree(project, copy, symlinks=True, ignore=kept_out)
    (copy / ".venv").symlink_to(project / ".venv")
    (copy / "dvc.lock").unlink(missing_ok=True)
    shutil.rmtree(copy / "features")

    def anew(*command: str) -> float:
        shutil.rmtree(copy / ".cache", ignore_errors=True)
        return seconds(copy, *command)

    anew("python", "-c", STAGES)  # Python compiles what it imports, once
    in_process, full = anew("python", "-c", STAGES), anew("dvc", "repro", "--force")
    nothing = seconds(copy, "dvc", "repro")
    seconds(copy, "mergeworthy", "data", "--until", "2013-12")
    year = anew(*FEATURES)
    next((copy / ".cache/features").glob("2013-12-*")).unlink()
    return [
        Line("`dvc repro` of six months", full, "the same functions in one process", in_process, 1.3),
        Line("`dvc repro` with nothing to do", nothing, "all of it", full, 2, alone=True),
        Line("features of a twelfth month", seconds(copy, *FEATURES), "of all twelve", year, 0.35),
    ]


def main(project: Path) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        lines = begin(Path(name)) + work(project, Path(name) / "project")
    print("| | | beside | | limit |\n|---|---|---|---|---|")
    print(*lines, sep="\n")
    sys.exit(not all(line.kept for line in lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
