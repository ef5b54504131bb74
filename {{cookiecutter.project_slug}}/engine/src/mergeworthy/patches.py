"""Which files of `engine/` differ from those that the template delivered, told by the digests in `engine/DIGEST`.

Editing the engine works at once; this only names what was edited, as the next update may meet it. Nothing but the
standard library is imported: the template's own command, which writes the file, loads this module alone.
"""

import hashlib
from pathlib import Path

ENGINE = Path("engine")
DIGEST = "DIGEST"
# What tools leave behind is not of the engine.
LEFT = {"__pycache__", "build", "dist", ".venv", ".cache"}


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by its path in the folder, sorted; whatever the line endings of the checkout."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {path: _sha256(folder / path) for path in paths if path != DIGEST and not _is_left(Path(path))}


def content(folder: Path = ENGINE) -> str:
    """Return what `DIGEST` has to hold, a line for each file as sha256sum writes it, below one for them all."""
    lines = [f"{sha256}  {path}" for path, sha256 in digests(folder).items()]
    return "\n".join([f"# {total(lines)}", *lines]) + "\n"


def total(lines: list[str]) -> str:
    """Return one digest of all files."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def changed(folder: Path = ENGINE) -> list[str] | None:
    """Return the files that were edited, added or removed, each with which; None if no engine was delivered here."""
    record = folder / DIGEST
    if not record.is_file():
        return None
    lines = [line for line in record.read_text(errors="replace").splitlines() if not line.startswith("#")]
    delivered = {path: sha256 for sha256, _, path in (line.partition("  ") for line in lines)}
    now = digests(folder)
    found = {path: "edited" for path in delivered.keys() & now.keys() if delivered[path] != now[path]}
    found |= dict.fromkeys(now.keys() - delivered.keys(), "added")
    found |= dict.fromkeys(delivered.keys() - now.keys(), "removed")
    return [f"{folder.name}/{path} ({found[path]})" for path in sorted(found)]


def sentence(found: list[str] | None) -> str:
    """Return what is to be said of the changed files."""
    if found is None:
        return "no engine/ here: the engine is installed from where tool.uv.sources in pyproject.toml says"
    return f"changed here: {', '.join(found)}" if found else "as delivered"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _is_left(path: Path) -> bool:
    hidden = any(part.startswith(".") or part.endswith(".egg-info") for part in path.parts)
    return hidden or bool(LEFT & set(path.parts)) or path.suffix == ".pyc"
