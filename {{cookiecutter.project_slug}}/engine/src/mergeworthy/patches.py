"""Which files of `engine/` differ from those that the template delivered, by the digests in `engine/DIGEST`.

An edit of the engine takes effect at once. The edited files are named because the next update may conflict with them.
This module imports the standard library only: the template's own command, which writes DIGEST, loads it alone.
"""

import hashlib
from pathlib import Path

ENGINE = Path("engine")
DIGEST = "DIGEST"
# What tools create there is no part of the engine.
CREATED_BY_TOOLS = {"__pycache__", "build", "dist", ".venv", ".cache"}


def digests(folder: Path) -> dict[str, str]:
    """Return path in the folder → SHA-256 of each file, sorted; line endings of the checkout make no difference."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {path: _sha256(folder / path) for path in paths if path != DIGEST and not _is_created_by_tool(Path(path))}


def content(folder: Path = ENGINE) -> str:
    """Return the content of `DIGEST`: the digest of all files, then a line for each file as sha256sum writes it."""
    lines = [f"{sha256}  {path}" for path, sha256 in digests(folder).items()]
    return "\n".join([f"# {total(lines)}", *lines]) + "\n"


def total(lines: list[str]) -> str:
    """Return one digest of all lines."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def changed(folder: Path = ENGINE) -> list[str] | None:
    """Return the files that were edited, added or removed, each with the kind of change; None without an engine."""
    record = folder / DIGEST
    if not record.is_file():
        return None
    lines = [line for line in record.read_text(errors="replace").splitlines() if not line.startswith("#")]
    delivered = {path: sha256 for sha256, _, path in (line.partition("  ") for line in lines)}
    present = digests(folder)
    changes = {path: "edited" for path in delivered.keys() & present.keys() if delivered[path] != present[path]}
    changes |= dict.fromkeys(present.keys() - delivered.keys(), "added")
    changes |= dict.fromkeys(delivered.keys() - present.keys(), "removed")
    return [f"{folder.name}/{path} ({changes[path]})" for path in sorted(changes)]


def sentence(changes: list[str] | None) -> str:
    """Return in a sentence which files were changed."""
    if changes is None:
        return "no engine/ here: the engine is installed from where tool.uv.sources in pyproject.toml says"
    return f"changed here: {', '.join(changes)}" if changes else "as delivered"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _is_created_by_tool(path: Path) -> bool:
    hidden = any(part.startswith(".") or part.endswith(".egg-info") for part in path.parts)
    return hidden or bool(CREATED_BY_TOOLS & set(path.parts)) or path.suffix == ".pyc"
