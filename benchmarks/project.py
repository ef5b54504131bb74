"""What a team inherits and waits for: files and lines, `make check` and `make test`, `make demo`, the image.

    python -m benchmarks.project PROJECT [IMAGE]     (a generated project with its environment; a built image)

Cold means that the caches of the tools and Python's bytecode of the project are deleted; warm is the run after. Set-up
is left out: CI restores the environment from a cache. Prints a Markdown table; exits 1 if a limit is not kept.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.cost import SLACK
from tests.bake import bake, export, files, outside

OWN_FILES, OWN_LINES, ENGINE_FILES = 80, 6_000, 90  # at most
CHECKS_SECONDS = 90  # at most, of the verbs of CI's job `checks`
IMAGE_MB = 400  # at most
CACHES = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".import_linter_cache")
Row = tuple[str, str, bool]  # what, how much, and whether the limit is kept
BEFORE = {  # of version 1, where it was measured: its files were all the team's, and its CI ran the machinery's tests
    "files and lines outside `engine/`": "338 files, 21,218 lines",
    "files and lines in `engine/`": "no engine",
    "verbs of the job `checks`, cold": "20 minutes of processor time",
}


def sizes(folder: Path) -> list[Row]:
    """Return files and lines of a generated project, outside the engine and in it."""
    rows = []
    for what, is_engine in (("outside `engine/`", False), ("in `engine/`", True)):
        paths = [folder / name for name in files(folder) if (name.parts[0] == "engine") == is_engine]
        lines = sum(len(path.read_bytes().splitlines()) for path in paths)
        kept = len(paths) <= ENGINE_FILES if is_engine else len(paths) <= OWN_FILES and lines <= OWN_LINES
        limit = f"{ENGINE_FILES} files" if is_engine else f"{OWN_FILES} files, {OWN_LINES:,} lines"
        rows.append((f"files and lines {what}", f"{len(paths)} files, {lines:,} lines (limit {limit})", kept))
    return rows


def seconds(folder: Path, *verbs: str) -> float:
    """Return the wall time of `make` with these verbs; raise if it fails."""
    environment = os.environ | outside() | {"PYTHONPATH": f"{folder}/src:{folder}/engine/src"}
    environment.pop("MYPY_CACHE_DIR", None)
    started = time.perf_counter()
    subprocess.run(["make", *verbs], cwd=folder, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def without_caches(folder: Path) -> None:
    """Delete what the verbs leave behind to be faster the next time."""
    bytecode = [path for name in ("src", "tests", "engine") for path in (folder / name).rglob("__pycache__")]
    for path in [*(folder / name for name in CACHES), *bytecode]:
        shutil.rmtree(path, ignore_errors=True)


def verbs(project: Path, copy: Path) -> list[Row]:
    """Return the times of `make check` and `make test` in a copy of a project, cold and warm."""
    shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".cache", "cache", "tmp"))
    (copy / ".venv").symlink_to(project / ".venv")
    for name in ("pyproject.toml", "engine/pyproject.toml", "uv.lock"):
        if (copy / name).exists():  # older than the environment, which is not this copy's to set up
            os.utime(copy / name, (0, 0))
    without_caches(copy)
    check, test = seconds(copy, "check"), seconds(copy, "test")
    check_again, test_again = seconds(copy, "check"), seconds(copy, "test")
    return [
        ("`make check`", f"{check:.0f} s cold, {check_again:.0f} s warm", True),
        ("`make test`", f"{test:.0f} s cold, {test_again:.0f} s warm", True),
        (
            "verbs of the job `checks`, cold",
            f"{check + test:.0f} s (limit {CHECKS_SECONDS} s)",
            check + test <= CHECKS_SECONDS * SLACK,
        ),
    ]


def demo(template: Path, folder: Path) -> Row:
    """Return the time of `make demo`, from cached packages to a judged model."""
    started = time.perf_counter()
    command, environment = ["make", "demo", f"DEMO={folder}"], os.environ | outside()
    subprocess.run(command, cwd=template, check=True, stdout=subprocess.DEVNULL, env=environment)
    return "`make demo`, packages cached", f"{time.perf_counter() - started:.0f} s", True


def image(name: str) -> Row:
    """Return the size of an image that podman or docker has."""
    program = next((each for each in ("podman", "docker") if shutil.which(each)), None)
    if program is None:
        raise SystemExit(f"error: {name} cannot be measured: install podman or docker")
    command = [program, "image", "inspect", "--format", "{{.Size}}", name]
    size = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1e6
    return "the image, uncompressed", f"{size:.0f} MB (limit {IMAGE_MB} MB)", size <= IMAGE_MB


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown, beside what version 1 had."""
    lines = [f"| {what} | {BEFORE.get(what, '')} | {value}{'' if kept else ', missed'} |" for what, value, kept in rows]
    return "\n".join(["| | version 1 | now |", "|---|---|---|", *lines])


def main(project: Path, images: list[str]) -> None:
    """Print the table, and the load of the machine before and after."""
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        template = export(folder / "template")
        rows = sizes(bake(template, folder / "fresh"))
        rows += [*verbs(project, folder / "project"), demo(template, folder / "demo"), *map(image, images)]
    print(table(rows))
    print(f"\nOther processes: a load of {before:.1f} on {os.cpu_count()} cores at the start.")
    sys.exit(not all(kept for _, _, kept in rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
