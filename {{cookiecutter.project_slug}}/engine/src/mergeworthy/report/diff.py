"""Which files a reviewer has to read, from git."""

import subprocess
from dataclasses import dataclass

from ..config import GATES, PARAMS
from ..errors import UserError
from ..patches import ENGINE
from ..paths import DATA_DVC, LOCK
from ..render.markdown import MINUS, code, counted, details, table

ROWS, MORE, NAMED, DECIDING = 8, 60, 8, 40  # files shown, behind a click; other files named, and those that decide
TOLD_ELSEWHERE = {str(path) for path in (LOCK, DATA_DVC, PARAMS, GATES)}
# What decides how a model is judged, in the order in which it is named; then all else that .github/CODEOWNERS owns.
FIRST = (
    "dvc.yaml",
    "Makefile",
    ".github/",
    "src/ml/__init__.py",
    "src/ml/schema.py",
    "pyproject.toml",
)
FREE = ("src/ml/", "tests/", "docs/", "sweep.yaml")  # what decides nothing, with Markdown


@dataclass(frozen=True)
class File:
    """Lines added and removed; None for a binary file."""

    path: str
    added: int | None
    removed: int | None


def numstat(base: str) -> list[File]:
    """Files of this folder that differ from `base`, committed or not; raise `UserError` if git fails."""
    command = ["git", "diff", "--numstat", "-z", "--no-renames", "--no-ext-diff", "--relative", base, "--", "."]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"git cannot tell what changed since {base[:12]}: {done.stderr.decode(errors='replace')}")
    lines = [line.split("\t", 2) for line in done.stdout.decode(errors="replace").split("\0") if line]
    return [File(path, *(None if n == "-" else int(n) for n in numbers)) for *numbers, path in lines]


def told(files: list[File]) -> str:
    """Code under src/ file by file, most changed first; what decides is said before it; the rest is named."""
    source = sorted((file for file in files if file.path.startswith("src/")), key=_size, reverse=True)
    engine = [file.path for file in files if file.path.startswith(f"{ENGINE}/")]
    others = [file.path for file in files if file.path not in {*TOLD_ELSEWHERE, *engine}]
    ranks = {path: _rank(path) for path in others}
    deciding = sorted((path for path in others if ranks[path] is not None), key=lambda path: (ranks[path], path))
    rest = [path for path in others if ranks[path] is None and not path.startswith("src/")]
    told = [_code(source)]
    if engine:
        told.insert(
            0,
            f"⚙️ **Engine**: {counted(len(engine), 'file')} under `{ENGINE}/`, not the team's code, changed: "
            f"{_named(engine, NAMED)}.",
        )
    if deciding:
        told.insert(0, f"⚠️ What judges, trains or releases a model changed: {_named(deciding, DECIDING)}.")
    if any(file.path == str(GATES) for file in files):
        told.insert(0, f"⚠️ {code(GATES)} changed: this also changes what a model must show.")
    if rest:
        told.append(f"Outside `src/`: {_named(rest, NAMED)}.")
    return "\n\n".join(told)


def _rank(path: str) -> int | None:
    """Return the place of a file among those that decide; None if it is not one of them."""
    first = next((rank for rank, prefix in enumerate(FIRST) if path.startswith(prefix)), len(FIRST))
    return None if first == len(FIRST) and (path.startswith(FREE) or path.endswith(".md")) else first


def _named(paths: list[str], most: int) -> str:
    more = f" and {len(paths) - most:,} more" if len(paths) > most else ""
    return ", ".join(code(path) for path in paths[:most]) + more


def _code(source: list[File]) -> str:
    if not source:
        return "**Code**: nothing under `src/` changed."
    added, removed = (sum(n or 0 for n in side) for side in zip(*((f.added, f.removed) for f in source), strict=True))
    shown = source[: ROWS + MORE]
    rows = [[code(f.path), *("binary" if n is None else f"{n:,}" for n in (f.added, f.removed))] for f in shown]
    header, rest = ["File", "+:", f"{MINUS}:"], len(source) - ROWS - MORE
    text = f"**Code**: {counted(len(source), 'file')} under `src/`, +{added:,} {MINUS}{removed:,} lines.\n\n"
    text += table(header, rows[:ROWS])
    if more := rows[ROWS:]:
        text += f"\n\n{details(f'{len(more)} more', table(header, more))}"
    return text + (f"\n\n… and {rest:,} more" if rest > 0 else "")


def _size(file: File) -> int:
    return (file.added or 0) + (file.removed or 0)
