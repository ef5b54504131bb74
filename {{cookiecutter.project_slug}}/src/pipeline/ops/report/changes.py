"""What differs from the champion's commit: partitions, parameters, code, and so which stages."""

from pathlib import Path
from typing import Any

from ... import files
from ...errors import UserError
from ...settings import PARAMS
from .. import dvc_files, git
from . import data, diff, stages
from .facts import Facts
from .fit import Section
from .markdown import DASH, code, counted, details, table

ROWS, MORE = 12, 60  # parameters shown, and behind a click


def section(facts: Facts) -> Section:
    """Tell data, parameters, code and stages since `facts.base`."""
    if facts.base is None:
        return Section("changes", f"### What changed\n\nThe first model: {data.first()}", rank=2)
    behind = "" if facts.base == facts.verdict.champion else ", where this branch left main: main has moved on since"
    title = f"### What changed since `{facts.base[:12]}`{behind}"
    parts = [data.told(facts.base), _params(facts.base), diff.told(diff.numstat(facts.base)), stages.told(facts.base)]
    text = "\n\n".join([title, *parts])
    short = "\n\n".join(part for part in text.split("\n\n") if not part.startswith(("|", "<", "…")))  # no tables
    return Section("changes", text, rank=2, short=short)


def _params(base: str) -> str:
    old, new = _flat(git.read(base, PARAMS), f"{PARAMS} at {base[:12]}"), _flat(_disk(PARAMS), str(PARAMS))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key, ...) != new.get(key, ...))
    if not keys:
        return "**Parameters**: unchanged."
    shown = keys[: ROWS + MORE]
    rows = [[code(key), *(code(side[key], 40) if key in side else DASH for side in (old, new))] for key in shown]
    header, rest = ["Key", "Before", "Now"], len(keys) - ROWS - MORE
    text = f"**Parameters**: {counted(len(keys), 'change')} in {code(PARAMS)}.\n\n{table(header, rows[:ROWS])}"
    if more := rows[ROWS:]:
        text += f"\n\n{details(f'{len(more)} more', table(header, more))}"
    return text + (f"\n\n… and {rest:,} more in `git diff {base[:12]} -- {PARAMS}`" if rest > 0 else "")


def _flat(text: str | None, name: str) -> dict[str, Any]:
    content = files.parse_yaml(text or "", name) or {}
    if not isinstance(content, dict):
        raise UserError(f"{name}: a mapping of parameters is expected")
    return dvc_files.flat(content, ".")


def _disk(path: Path) -> str | None:
    return files.read_text(path, "restore it from git") if path.exists() else None
