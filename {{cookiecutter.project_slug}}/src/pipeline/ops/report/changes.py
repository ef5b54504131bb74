"""What differs from the champion's commit: partitions, parameters, code, and so which stages."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...paths import DATA_DVC
from ...settings import PARAMS
from .. import git, lineage
from ..gate import record
from . import diff, stages
from .facts import Facts
from .fit import Section
from .markdown import DASH, code, counted, details, table

NAMED, ROWS, MORE = 12, 12, 60  # partitions named; parameters or files shown, and behind a click


def section(facts: Facts) -> Section:
    """Tell data, parameters, code and stages since `facts.base`."""
    if facts.base is None:
        return Section("changes", f"### What changed\n\nThe first model: {_first()}", rank=2)
    behind = "" if facts.base == facts.verdict.champion else ", where this branch left main: main has moved on since"
    title = f"### What changed since `{facts.base[:12]}`{behind}"
    parts = [_data(facts.base), _params(facts.base), diff.told(diff.numstat(facts.base)), stages.told(facts.base)]
    short = "\n\n".join([title, *(part.split("\n\n")[0] for part in parts)])
    return Section("changes", "\n\n".join([title, *parts]), rank=2, short=short)


def _first() -> str:
    now = _partitions(_disk(DATA_DVC), str(DATA_DVC))
    return f"{counted(len(now), 'partition')}, {counted(sum(now.values()), 'row')}."


def _data(base: str) -> str:
    at = f"{DATA_DVC} at {base[:12]}"
    old_text, new_text = git.read(base, DATA_DVC), _disk(DATA_DVC)
    old, new = _partitions(old_text, at), _partitions(new_text, str(DATA_DVC))
    told = [
        _named("added", {name: f"{rows:,} rows" for name, rows in new.items() if name not in old}),
        _named("removed", {name: f"{rows:,} rows" for name, rows in old.items() if name not in new}),
        _named("changed", {n: f"{old[n]:,} → {new[n]:,} rows" for n in old if n in new and old[n] != new[n]}),
    ]
    if not any(told):
        same = _content(old_text, at) == _content(new_text, str(DATA_DVC))
        told = ["unchanged" if same else "other content in partitions of the same names and sizes"]
    if old and new and max(old) != max(new):
        told.append(f"the holdout moved from {code(max(old))} to {code(max(new))}")
    total = f"{counted(len(new), 'partition')}, {counted(sum(new.values()), 'row')} in all"
    return f"**Data**: {'; '.join(part for part in told if part)}. Now {total}."


def _named(what: str, facts: Mapping[str, str]) -> str:
    shown = [f"{code(name)} ({fact})" for name, fact in sorted(facts.items())[:NAMED]]
    more = f" and {len(facts) - NAMED:,} more" if len(facts) > NAMED else ""
    return f"{what} {', '.join(shown)}{more}" if shown else ""


def _partitions(text: str | None, name: str) -> dict[str, int]:
    try:
        found = record.partitions(record.parse(text, name)) if text else {}
        return {str(partition): int(rows) for partition, rows in found.items()}
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{name}: meta.partitions must map each partition to its rows: run `make data`") from None


def _content(text: str | None, name: str) -> object:
    return record.parse(text, name).get("outs") if text else None


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
    return lineage.flat(record.parse(text, name), ".") if text and text.strip() else {}


def _disk(path: Path) -> str | None:
    return path.read_text() if path.exists() else None
