"""Which stages this change made run, and which came out of the cache, read off dvc.lock."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..adapters import dvc_files, git
from ..paths import LOCK
from ..render.markdown import code, table, unbroken

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


def told(base: str) -> str:
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
