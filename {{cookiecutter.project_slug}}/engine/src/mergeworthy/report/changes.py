"""What the report is made from: the files of gate and stages, and what changed since the champion's commit.

Data, parameters, gates, code, engine and stages are read from git and from DVC's files; nothing is run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from .. import files, holdout
from ..adapters import dvc, git
from ..adapters.actions import Event, current
from ..config.base import PARAMS
from ..config.gates import GATES
from ..errors import UserError
from ..files import CHAMPION, DATA_DVC, DVC_YAML, LOCK, METRICS, PREDICTIONS, TRAINING, VERDICT
from ..patches import ENGINE
from ..project import registered
from ..stats import Floats, Targets
from ..text import DASH, MINUS, Section, code, counted, details, folded_table, prose, table, unbroken
from ..verdict import Verdict

Content = TypeVar("Content")
REMEDY = "run `make pipeline`"


@dataclass(frozen=True)
class Facts:
    """Inputs of the report. A field is None if the gate blocked before its file was written.

    `label`, `score` and `champion_score` (None if the gate did not write the champion's scores) belong to the N rows
    of the holdout: labels have the shape (N,), scores (N,) or (N, width). `base` is the commit that changes are
    compared with: where this branch left the champion's.
    """

    verdict: Verdict
    measured: dict[str, Any] | None
    label: Targets | None
    score: Floats | None
    champion_score: Floats | None
    history: pl.DataFrame | None
    event: Event
    base: str | None


def read_facts() -> Facts:
    """Return the facts; raise `UserError` if a file is missing or unreadable and the gate did not block anyway."""
    verdict = read_verdict()
    blocked = verdict.outcome == "block"
    label, score, champion = _required(PREDICTIONS, _predictions, blocked=blocked) or (None, None, None)
    return Facts(
        verdict=verdict,
        measured=_required(METRICS, read_metrics, blocked=blocked),
        label=label,
        score=score,
        champion_score=champion if verdict.champion else None,
        history=_required(TRAINING, _history, blocked=blocked),
        event=current(),
        base=verdict.champion and (git.merge_base(verdict.champion, "HEAD") or verdict.champion),
    )


def read_verdict() -> Verdict:
    """Return the gate's verdict on this dvc.lock; raise `UserError` if the verdict is about another one."""
    verdict = files.read_record(VERDICT, Verdict, "a verdict", "run `make gate`")
    lock = files.md5(LOCK) if LOCK.exists() else None
    if verdict.lock != lock:
        raise UserError(f"{VERDICT} is about another {LOCK} than the one here: run `make gate` again")
    return verdict


def read_metrics(path: Path = METRICS) -> dict[str, Any]:
    """Return what evaluation measured; raise `UserError` if a part of it is missing."""
    measured = files.read_mapping(path, REMEDY)
    model, baseline = measured.get("model"), measured.get("baseline")
    if not isinstance(model, dict) or not isinstance(baseline, dict) or model.keys() != baseline.keys():
        raise UserError(f"{path}: model and baseline: the same metrics of both are expected: {REMEDY}")
    for name in ("partition", "rows"):
        if name not in measured:
            raise UserError(f"{path}: {name} is missing: {REMEDY}")
    return measured


def champion_scores(predictions: pl.DataFrame) -> Floats | None:
    """Return the champion's scores, shape (N,) or (N, width); None if the gate did not write one for every row.

    The scores only add a line to a plot, so a file that is missing or unreadable is no error.
    """
    try:
        keys = registered().key
        scores = predictions.select(keys).join(
            pl.read_parquet(CHAMPION), on=keys, how="left", nulls_equal=True, maintain_order="left"
        )["score"]
    except (OSError, UserError, pl.exceptions.PolarsError):
        return None
    return None if scores.null_count() or len(scores) != predictions.height else _scores(scores)


def _predictions(path: Path) -> tuple[Targets, Floats, Floats | None]:
    table = files.read_parquet(path, REMEDY, [registered().target, "score"])
    return holdout.labels(table, path), _scores(table["score"]), champion_scores(table)


def _scores(column: pl.Series) -> Floats:
    """Return the scores of N rows, shape (N,) or (N, width)."""
    return column.to_numpy().astype(np.float64)


def _history(path: Path) -> pl.DataFrame:
    return files.read_csv(path, REMEDY)


def _required(path: Path, reader: Callable[[Path], Content], *, blocked: bool) -> Content | None:
    """Read a file that a stage wrote; return None if it is missing or broken and the gate blocked."""
    try:
        return reader(path)
    except UserError:
        if blocked:
            return None
        raise


VISIBLE_KEYS, FOLDED_KEYS = 12, 60  # of a settings file: rows in sight, and behind a click
VISIBLE_FILES, FOLDED_FILES = 8, 60
MAX_PARTITIONS, MAX_CAUSES, MAX_FILES, MAX_CRITICAL_FILES = 12, 6, 8, 40  # named in a sentence

OWN_SECTION = {str(path) for path in (LOCK, DATA_DVC, PARAMS, GATES)}  # files that the other parts describe
# Critical files, which decide how a model is trained, judged and released. These are named first, in this order; after
# them comes whatever else .github/CODEOWNERS owns, which is every file that is neither uncritical nor Markdown.
CRITICAL = (
    "dvc.yaml",
    "Makefile",
    ".github/",
    "src/ml/__init__.py",
    "src/ml/features.py",
    "src/ml/schema.py",
    "pyproject.toml",
)
UNCRITICAL = ("src/ml/", "tests/", "docs/", "sweep.yaml")


def changes_section(facts: Facts) -> Section:
    """Return data, parameters, gates, code and stages since `facts.base`."""
    if facts.base is None:
        return Section("changes", f"### What changed\n\nThe first model: {_total(_partitions_now())}.", rank=2)
    behind = "" if facts.base == facts.verdict.champion else ", where this branch left main: main has moved on since"
    head = facts.event.commit if facts.event.name else "HEAD"
    compare = facts.event.link("compare", f"compare/{facts.base}...{head}")
    whole = f" ({compare})" if facts.event.name else ""
    title = f"### What changed since {facts.event.commit_link(facts.base)}{whole}{behind}"
    parts: dict[str, Callable[[str], str]] = {
        "Data": describe_data,
        "Parameters": lambda base: describe_settings("Parameters", PARAMS, base),
        "Gates": lambda base: describe_settings("Gates", GATES, base),
        "Code": lambda base: describe_code(changed_files(base)),
        "Stages": describe_stages,
    }
    text = "\n\n".join([title, *(_part(name, describe, facts.base) for name, describe in parts.items())])
    short = "\n\n".join(part for part in text.split("\n\n") if not part.startswith(("|", "<", "…")))  # no tables
    return Section("changes", text, rank=2, short=short)


def _part(name: str, describe: Callable[[str], str], base: str) -> str:
    """Return one part; a part that fails gives the reason and hides none of the others."""
    try:
        return describe(base)
    except UserError as error:
        return f"**{name}**: not available: {prose(str(error))}"


# Settings


def describe_settings(title: str, path: Path, base: str) -> str:
    """Return which keys of a settings file differ from those at `base`, with both values."""
    now = files.read_text(path, "restore it from git") if path.exists() else None
    old, new = _flat(git.read(base, path), f"{path} at {base[:12]}"), _flat(now, str(path))
    keys = sorted(key for key in old.keys() | new.keys() if old.get(key, ...) != new.get(key, ...))
    if not keys:
        return f"**{title}**: unchanged."
    rows = [
        [code(key), *(code(side[key], 40) if key in side else DASH for side in (old, new))]
        for key in keys[: VISIBLE_KEYS + FOLDED_KEYS]
    ]
    text = f"**{title}**: {counted(len(keys), 'change')} in {code(path)}.\n\n"
    text += folded_table(["Key", "Before", "Now"], rows, VISIBLE_KEYS, FOLDED_KEYS)
    rest = len(keys) - len(rows)
    return text + (f"\n\n… and {rest:,} more in `git diff {base[:12]} -- {path}`" if rest > 0 else "")


def _flat(text: str | None, name: str) -> dict[str, Any]:
    content = files.parse_yaml(text or "", name) or {}
    if not isinstance(content, dict):
        raise UserError(f"{name}: a mapping of keys to values is expected")
    return dvc.flat(content, ".")


# Code


@dataclass(frozen=True)
class File:
    """Lines added to and removed from a file; None for a binary file."""

    path: str
    added: int | None
    removed: int | None

    @property
    def size(self) -> int:
        """Return the number of changed lines."""
        return (self.added or 0) + (self.removed or 0)


def changed_files(base: str) -> list[File]:
    """Return the files of this folder that differ from `base`, committed or not; raise `UserError` if git fails."""
    lines = [line.split("\t", 2) for line in git.changed_lines(base).split("\0") if line]
    return [File(path, *(None if n == "-" else int(n) for n in numbers)) for *numbers, path in lines]


def describe_code(changed: list[File]) -> str:
    """Return gates.yaml, critical files and engine first; then src/ file by file, most changed first; then the rest."""
    source = [file for file in changed if file.path.startswith("src/")]
    source.sort(key=lambda file: file.size, reverse=True)
    engine = [file.path for file in changed if file.path.startswith(f"{ENGINE}/")]
    others = [file.path for file in changed if file.path not in {*OWN_SECTION, *engine}]
    ranks = {path: _rank(path) for path in others}
    critical = sorted((path for path in others if ranks[path] is not None), key=lambda path: (ranks[path], path))
    rest = [path for path in others if ranks[path] is None and not path.startswith("src/")]
    parts = []
    if any(file.path == str(GATES) for file in changed):
        parts.append(f"⚠️ {code(GATES)} changed: this also changes what a model must show.")
    if critical:
        names = _list_files(critical, MAX_CRITICAL_FILES)
        parts.append(f"⚠️ What judges, trains or releases a model changed: {names}.")
    if engine:
        head = f"⚙️ **Engine**: {counted(len(engine), 'file')} under `{ENGINE}/`, not the team's code, changed"
        parts.append(f"{head}: {_list_files(engine, MAX_FILES)}.")
    parts.append(_source_table(source))
    if rest:
        parts.append(f"Outside `src/`: {_list_files(rest, MAX_FILES)}.")
    return "\n\n".join(parts)


def _rank(path: str) -> int | None:
    """Return the position of a file among the critical ones; None if it is uncritical."""
    rank = next((rank for rank, prefix in enumerate(CRITICAL) if path.startswith(prefix)), None)
    if rank is not None:
        return rank
    return None if path.startswith(UNCRITICAL) or path.endswith(".md") else len(CRITICAL)


def _list_files(paths: list[str], limit: int) -> str:
    more = f" and {len(paths) - limit:,} more" if len(paths) > limit else ""
    return ", ".join(code(path) for path in paths[:limit]) + more


def _source_table(source: list[File]) -> str:
    if not source:
        return "**Code**: nothing under `src/` changed."
    added, removed = sum(file.added or 0 for file in source), sum(file.removed or 0 for file in source)
    rows = [
        [code(file.path), *("binary" if lines is None else f"{lines:,}" for lines in (file.added, file.removed))]
        for file in source[: VISIBLE_FILES + FOLDED_FILES]
    ]
    text = f"**Code**: {counted(len(source), 'file')} under `src/`, +{added:,} {MINUS}{removed:,} lines.\n\n"
    text += folded_table(["File", "+:", f"{MINUS}:"], rows, VISIBLE_FILES, FOLDED_FILES)
    rest = len(source) - len(rows)
    return text + (f"\n\n… and {rest:,} more" if rest > 0 else "")


# Data


@dataclass(frozen=True)
class Partition:
    """Rows of the main table, and the hash of all tables; None if data.dvc does not record one."""

    rows: int
    md5: str | None

    def differs(self, other: "Partition") -> bool:
        """Compare rows, and hashes if both are recorded."""
        return self.rows != other.rows or (None not in (self.md5, other.md5) and self.md5 != other.md5)


def describe_data(base: str) -> str:
    """Return which partitions were added, removed or changed since `base`; raise `UserError` for a broken data.dvc."""
    before = _data_dvc_at(base)
    old, new = _partitions(before or {}), _partitions_now()
    changed = [name for name in old if name in new and old[name].differs(new[name])]
    parts = [
        _list_partitions("added", {name: f"{part.rows:,} rows" for name, part in new.items() if name not in old}),
        _list_partitions("removed", {name: f"{part.rows:,} rows" for name, part in old.items() if name not in new}),
        _list_partitions("changed", {name: _change(old[name], new[name]) for name in changed}),
    ]
    if old and new and max(old) != max(new):
        parts.append(f"the holdout moved from {code(max(old))} to {code(max(new))}")
    if not any(parts) and before is not None and _hash(before) != _hash(dvc.read(DATA_DVC)):
        parts.append(f"⚠️ other content, which the `meta` of {DATA_DVC} does not record: see the check `data`")
    return f"**Data**: {'; '.join(part for part in parts if part) or 'unchanged'}. Now {_total(new)} in all."


def _data_dvc_at(base: str) -> dvc.Document | None:
    text = git.read(base, DATA_DVC)
    return None if text is None else dvc.parse(text, f"{DATA_DVC} at {base[:12]}")


def _partitions_now() -> dict[str, Partition]:
    return _partitions(dvc.read(DATA_DVC)) if DATA_DVC.exists() else {}


def _partitions(content: dvc.Document) -> dict[str, Partition]:
    hashes = (content.get("meta") or {}).get("md5") or {}
    return {name: Partition(rows, hashes.get(name)) for name, rows in dvc.partitions(content).items()}


def _hash(content: dvc.Document) -> object:
    return content["outs"][0].get("md5")


def _change(old: Partition, new: Partition) -> str:
    return f"{old.rows:,} → {new.rows:,} rows" if old.rows != new.rows else f"other content in {new.rows:,} rows"


def _list_partitions(verb: str, facts: Mapping[str, str]) -> str:
    """Return the verb and the partitions, each with its fact; nothing without partitions."""
    shown = [f"{code(name)} ({fact})" for name, fact in sorted(facts.items())[:MAX_PARTITIONS]]
    more = f" and {len(facts) - MAX_PARTITIONS:,} more" if len(facts) > MAX_PARTITIONS else ""
    return f"{verb} {', '.join(shown)}{more}" if shown else ""


def _total(partitions: Mapping[str, Partition]) -> str:
    rows = sum(partition.rows for partition in partitions.values())
    return f"{counted(len(partitions), 'partition')}, {counted(rows, 'row')}"


# Stages


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline, and what made it differ from the base; no causes if it is unchanged."""

    name: str
    causes: list[str]
    same_outputs: bool = False

    @property
    def unchanged(self) -> bool:
        """Return if the stage had nothing to do."""
        return not self.causes


def compare_stages(base: str | None) -> list[Stage]:
    """Return each stage of dvc.lock, compared with dvc.lock at `base`, in the pipeline's order."""
    new = dvc.read(LOCK).get("stages") or {} if LOCK.exists() else {}
    old = _stages(git.read(base, LOCK), f"{LOCK} at {base[:12]}") if base else {}
    return [_compare(name, old.get(name), new[name]) for name in _in_order(new)]


def describe_stages(base: str) -> str:
    """Return one line and, behind a click, a table of the stages with the causes of each if any differs."""
    stages = compare_stages(base)
    unchanged = sum(stage.unchanged for stage in stages)
    head = f"**Stages**: {len(stages) - unchanged} of {len(stages)} differ from the champion's."
    if unchanged == len(stages):
        return head
    rows = table(["Stage", "", "Because of"], [_stage_row(stage) for stage in stages])
    return f"{head}\n\n{details('What made them differ', rows)}"


def _stage_row(stage: Stage) -> list[str]:
    if stage.unchanged:
        return [code(stage.name), "the same", ""]
    more = f" and {len(stage.causes) - MAX_CAUSES} more" if len(stage.causes) > MAX_CAUSES else ""
    causes = ", ".join(code(cause) for cause in stage.causes[:MAX_CAUSES]) + more
    return [code(stage.name), unbroken("differs, with the same result" if stage.same_outputs else "differs"), causes]


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
        yield from ((f"{file}:{key}", value) for key, value in dvc.flat(values, ".").items())


def _hashes(stage: dict[str, Any], kind: str) -> dict[str, object]:
    return {item["path"]: item.get("md5") for item in stage.get(kind) or []}


def _stages(text: str | None, name: str) -> dict[str, dict[str, Any]]:
    return dvc.parse(text, name).get("stages") or {} if text else {}


def _in_order(stages: Mapping[str, object]) -> list[str]:
    """Return the names as dvc.yaml orders them, others after them: dvc.lock is sorted by name."""
    pipeline = list(dvc.pipeline()) if DVC_YAML.exists() else []
    return sorted(stages, key=lambda name: (pipeline.index(name) if name in pipeline else len(pipeline), name))
