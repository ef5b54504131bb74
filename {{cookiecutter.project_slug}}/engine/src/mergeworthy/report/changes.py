"""The section on what changed: code, engine, parameters, data, gates, and the stages that ran."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import files
from ..adapters import dvc_files, git
from ..config.base import PARAMS
from ..config.gates import GATES
from ..errors import UserError
from ..patches import ENGINE
from ..paths import DATA_DVC, LOCK
from ..render import DASH, MINUS, counted, details, table, unbroken
from ..text import code, prose
from .facts import Facts, Section

# DOC report.diff: Which files a reviewer has to read, from git.

FILE_ROWS, MORE_FILES, NAMED_FILES, DECIDING = (
    8,
    60,
    8,
    40,
)  # files shown, behind a click; other files named, and those that decide
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


def describe_code(files: list[File]) -> str:
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
            f"{_diff_named(engine, NAMED_FILES)}.",
        )
    if deciding:
        told.insert(0, f"⚠️ What judges, trains or releases a model changed: {_diff_named(deciding, DECIDING)}.")
    if any(file.path == str(GATES) for file in files):
        told.insert(0, f"⚠️ {code(GATES)} changed: this also changes what a model must show.")
    if rest:
        told.append(f"Outside `src/`: {_diff_named(rest, NAMED_FILES)}.")
    return "\n\n".join(told)


def _rank(path: str) -> int | None:
    """Return the place of a file among those that decide; None if it is not one of them."""
    first = next((rank for rank, prefix in enumerate(FIRST) if path.startswith(prefix)), len(FIRST))
    return None if first == len(FIRST) and (path.startswith(FREE) or path.endswith(".md")) else first


def _diff_named(paths: list[str], most: int) -> str:
    more = f" and {len(paths) - most:,} more" if len(paths) > most else ""
    return ", ".join(code(path) for path in paths[:most]) + more


def _code(source: list[File]) -> str:
    if not source:
        return "**Code**: nothing under `src/` changed."
    added, removed = (sum(n or 0 for n in side) for side in zip(*((f.added, f.removed) for f in source), strict=True))
    shown = source[: FILE_ROWS + MORE_FILES]
    rows = [[code(f.path), *("binary" if n is None else f"{n:,}" for n in (f.added, f.removed))] for f in shown]
    header, rest = ["File", "+:", f"{MINUS}:"], len(source) - FILE_ROWS - MORE_FILES
    text = f"**Code**: {counted(len(source), 'file')} under `src/`, +{added:,} {MINUS}{removed:,} lines.\n\n"
    text += table(header, rows[:FILE_ROWS])
    if more := rows[FILE_ROWS:]:
        text += f"\n\n{details(f'{len(more)} more', table(header, more))}"
    return text + (f"\n\n… and {rest:,} more" if rest > 0 else "")


def _size(file: File) -> int:
    return (file.added or 0) + (file.removed or 0)


# DOC report.data: Which partitions came, went or were delivered again, from what data.dvc says at two commits.

NAMED_PARTITIONS = 12  # partitions


@dataclass(frozen=True)
class Partition:
    """Rows of the main table, and the hash of all tables where it is recorded."""

    rows: int
    md5: str | None


def first() -> str:
    """Say what the first model has."""
    return f"{_total(_data_disk())}."


def describe_data(base: str) -> str:
    """Say what differs from `base`; raise `UserError` where a data.dvc cannot be read."""
    text, name = git.read(base, DATA_DVC), f"{DATA_DVC} at {base[:12]}"
    old, new = _partitions(_read(text, name)), _data_disk()
    parts = [
        _data_named("added", {name: f"{part.rows:,} rows" for name, part in new.items() if name not in old}),
        _data_named("removed", {name: f"{part.rows:,} rows" for name, part in old.items() if name not in new}),
        _data_named("changed", {n: _change(old[n], new[n]) for n in old if n in new and _differ(old[n], new[n])}),
    ]
    if old and new and max(old) != max(new):
        parts.append(f"the holdout moved from {code(max(old))} to {code(max(new))}")
    if not any(parts) and text is not None and _hash(_read(text, name)) != _hash(dvc_files.read(DATA_DVC)):
        parts.append(f"⚠️ other content, which the `meta` of {DATA_DVC} does not say: the check `data` names it")
    return f"**Data**: {'; '.join(part for part in parts if part) or 'unchanged'}. Now {_total(new)} in all."


def _hash(content: dvc_files.Document) -> object:
    return content["outs"][0].get("md5")


def _differ(old: Partition, new: Partition) -> bool:
    """Compare; where a hash is not recorded, rows are all there is."""
    return old.rows != new.rows or (None not in (old.md5, new.md5) and old.md5 != new.md5)


def _change(old: Partition, new: Partition) -> str:
    return f"{old.rows:,} → {new.rows:,} rows" if old.rows != new.rows else f"other content in {new.rows:,} rows"


def _data_named(what: str, facts: Mapping[str, str]) -> str:
    shown = [f"{code(name)} ({fact})" for name, fact in sorted(facts.items())[:NAMED_PARTITIONS]]
    more = f" and {len(facts) - NAMED_PARTITIONS:,} more" if len(facts) > NAMED_PARTITIONS else ""
    return f"{what} {', '.join(shown)}{more}" if shown else ""


def _total(partitions: Mapping[str, Partition]) -> str:
    rows = sum(partition.rows for partition in partitions.values())
    return f"{counted(len(partitions), 'partition')}, {counted(rows, 'row')}"


def _data_disk() -> dict[str, Partition]:
    return _partitions(dvc_files.read(DATA_DVC)) if DATA_DVC.exists() else {}


def _read(text: str | None, name: str) -> dvc_files.Document:
    return dvc_files.parse(text, name) if text is not None else {}


def _partitions(content: dvc_files.Document) -> dict[str, Partition]:
    hashes = (content.get("meta") or {}).get("md5") or {}
    return {name: Partition(rows, hashes.get(name)) for name, rows in dvc_files.partitions(content).items()}


# DOC report.stages: Which stages this change made run, and which came out of the cache, read off dvc.lock.

CAUSES = 6  # named per stage


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline, and what made it differ from the base; nothing did where it is unchanged."""

    name: str
    causes: list[str]
    same_outputs: bool = False

    @property
    def unchanged(self) -> bool:
        """Nothing was to be done."""
        return not self.causes


def compared(base: str | None) -> list[Stage]:
    """Each stage of the lock on disk against the lock at `base`, in the pipeline's order."""
    new = dvc_files.read(LOCK).get("stages") or {} if LOCK.exists() else {}
    old = _stages(git.read(base, LOCK), f"{LOCK} at {base[:12]}") if base else {}
    return [_compare(name, old.get(name), new[name]) for name in sorted(new, key=_order(new))]


def describe_stages(base: str) -> str:
    """One line, and a row a stage with what made it run."""
    stages = compared(base)
    unchanged = sum(stage.unchanged for stage in stages)
    head = f"**Stages**: {len(stages) - unchanged} of {len(stages)} made anew, {unchanged} unchanged."
    if unchanged == len(stages):
        return head
    return f"{head}\n\n{table(['Stage', '', 'Because of'], [_row(stage) for stage in stages])}"


def _row(stage: Stage) -> list[str]:
    if stage.unchanged:
        return [code(stage.name), "unchanged", ""]
    more = f" and {len(stage.causes) - CAUSES} more" if len(stage.causes) > CAUSES else ""
    causes = ", ".join(code(cause) for cause in stage.causes[:CAUSES]) + more
    how = "made anew, same result" if stage.same_outputs else "made anew"
    return [code(stage.name), unbroken(how), causes]


def _compare(name: str, old: dict[str, Any] | None, new: dict[str, Any]) -> Stage:
    if old is None:
        return Stage(name, ["new stage"])
    before, now = dict(_inputs(old)), dict(_inputs(new))
    causes = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    same = _hashes(old, "outs") == _hashes(new, "outs")
    return Stage(name, causes or ([] if same else ["another result from the same inputs"]), same_outputs=same)


def _inputs(stage: dict[str, Any]) -> Iterator[tuple[str, object]]:
    yield "command", stage.get("cmd")
    yield from _hashes(stage, "deps").items()
    for file, values in (stage.get("params") or {}).items():
        yield from ((f"{file}:{key}", value) for key, value in dvc_files.flat(values, ".").items())


def _hashes(stage: dict[str, Any], kind: str) -> dict[str, object]:
    return {item["path"]: item.get("md5") for item in stage.get(kind) or []}


def _stages(text: str | None, name: str) -> dict[str, dict[str, Any]]:
    return dvc_files.parse(text, name).get("stages") or {} if text else {}


def _order(known: dict[str, Any]) -> Any:
    """dvc.lock is sorted by name, dvc.yaml by what comes first."""
    names = list(dvc_files.pipeline()) if dvc_files.DVC_YAML.exists() else []
    return lambda name: names.index(name) if name in names else len(names) + sorted(known).index(name)


# DOC report.changes: What differs from the champion's commit: partitions, parameters, gates, code, and so which
# stages.

KEY_ROWS, MORE_KEYS = 12, 60  # keys shown, and behind a click


def changes_section(facts: Facts) -> Section:
    """Tell data, parameters, gates, code and stages since `facts.base`."""
    if facts.base is None:
        return Section("changes", f"### What changed\n\nThe first model: {first()}", rank=2)
    behind = "" if facts.base == facts.verdict.champion else ", where this branch left main: main has moved on since"
    title = f"### What changed since `{facts.base[:12]}`{behind}"
    parts: dict[str, Callable[[str], str]] = {
        "Data": describe_data,
        "Parameters": lambda base: _settings("Parameters", PARAMS, base),
        "Gates": lambda base: _settings("Gates", GATES, base),
        "Code": lambda base: describe_code(numstat(base)),
        "Stages": describe_stages,
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
    old, new = _flat(git.read(base, path), f"{path} at {base[:12]}"), _flat(_changes_disk(path), str(path))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key, ...) != new.get(key, ...))
    if not keys:
        return f"**{what}**: unchanged."
    shown = keys[: KEY_ROWS + MORE_KEYS]
    rows = [[code(key), *(code(side[key], 40) if key in side else DASH for side in (old, new))] for key in shown]
    header, rest = ["Key", "Before", "Now"], len(keys) - KEY_ROWS - MORE_KEYS
    text = f"**{what}**: {counted(len(keys), 'change')} in {code(path)}.\n\n{table(header, rows[:KEY_ROWS])}"
    if more := rows[KEY_ROWS:]:
        text += f"\n\n{details(f'{len(more)} more', table(header, more))}"
    return text + (f"\n\n… and {rest:,} more in `git diff {base[:12]} -- {path}`" if rest > 0 else "")


def _flat(text: str | None, name: str) -> dict[str, Any]:
    content = files.parse_yaml(text or "", name) or {}
    if not isinstance(content, dict):
        raise UserError(f"{name}: a mapping of keys to values is expected")
    return dvc_files.flat(content, ".")


def _changes_disk(path: Path) -> str | None:
    return files.read_text(path, "restore it from git") if path.exists() else None
