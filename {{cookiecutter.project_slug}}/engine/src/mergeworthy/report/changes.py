"""What differs from the champion's commit: partitions, parameters, gates, code, and so which stages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import files
from ..adapters import dvc_files, git
from ..config import GATES, PARAMS
from ..errors import UserError
from ..render.markdown import DASH, code, counted, details, prose, table
from . import data, diff, stages
from .facts import Facts
from .fit import Section

ROWS, MORE = 12, 60  # keys shown, and behind a click


def section(facts: Facts) -> Section:
    """Tell data, parameters, gates, code and stages since `facts.base`."""
    if facts.base is None:
        return Section("changes", f"### What changed\n\nThe first model: {data.first()}", rank=2)
    behind = "" if facts.base == facts.verdict.champion else ", where this branch left main: main has moved on since"
    title = f"### What changed since `{facts.base[:12]}`{behind}"
    parts: dict[str, Callable[[str], str]] = {
        "Data": data.told,
        "Parameters": lambda base: _settings("Parameters", PARAMS, base),
        "Gates": lambda base: _settings("Gates", GATES, base),
        "Code": lambda base: diff.told(diff.numstat(base)),
        "Stages": stages.told,
    }
    text = "\n\n".join([title, *(_told(name, told, facts.base) for name, told in parts.items())])
    short = "\n\n".join(part for part in text.split("\n\n") if not part.startswith(("|", "<", "…")))  # no tables
    return Section("changes", text, rank=2, short=short)


def _told(name: str, told: Callable[[str], str], base: str) -> str:
    """Return one part; that it cannot be told hides none of the others."""
    try:
        return told(base)
    except UserError as error:
        return f"**{name}**: not to be told: {prose(str(error))}"


def _settings(what: str, path: Path, base: str) -> str:
    """Tell which keys of a settings file differ from those at `base`, and how."""
    old, new = _flat(git.read(base, path), f"{path} at {base[:12]}"), _flat(_disk(path), str(path))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key, ...) != new.get(key, ...))
    if not keys:
        return f"**{what}**: unchanged."
    shown = keys[: ROWS + MORE]
    rows = [[code(key), *(code(side[key], 40) if key in side else DASH for side in (old, new))] for key in shown]
    header, rest = ["Key", "Before", "Now"], len(keys) - ROWS - MORE
    text = f"**{what}**: {counted(len(keys), 'change')} in {code(path)}.\n\n{table(header, rows[:ROWS])}"
    if more := rows[ROWS:]:
        text += f"\n\n{details(f'{len(more)} more', table(header, more))}"
    return text + (f"\n\n… and {rest:,} more in `git diff {base[:12]} -- {path}`" if rest > 0 else "")


def _flat(text: str | None, name: str) -> dict[str, Any]:
    content = files.parse_yaml(text or "", name) or {}
    if not isinstance(content, dict):
        raise UserError(f"{name}: a mapping of keys to values is expected")
    return dvc_files.flat(content, ".")


def _disk(path: Path) -> str | None:
    return files.read_text(path, "restore it from git") if path.exists() else None
