"""Judge `models/model.onnx` by gates.yaml, and against the model that main points to. Whatever cannot be told blocks.

A rerun on the same commit and data gives the same verdict; of its figures only `p95 ms` is measured anew.
"""

from .. import artifact, files
from ..adapters import git
from ..config import Gates, gates
from ..holdout import Holdout, measure, read
from ..paths import CHAMPION, LOCK, MODEL, REPORT, VERDICT
from ..verdict import Verdict
from . import absolute, integrity, plausible, relative, scoring, show
from .ledger import Ledger

__all__ = ["Verdict", "run"]


def run(champion: str | None = None) -> Verdict:
    """Judge, write `reports/verdict.json` and `.md`, print the table; `champion` names a commit other than main."""
    VERDICT.parent.mkdir(exist_ok=True)
    text = VERDICT.with_suffix(".md")
    for old in (CHAMPION, VERDICT, text, REPORT):  # should this crash, nothing may be taken for its verdict
        old.unlink(missing_ok=True)
    ledger = Ledger()
    with ledger.check("prerequisites"):
        _judge(gates(), read(), champion, ledger)
    verdict = ledger.verdict(commit=git.resolve("HEAD"), lock=files.md5(LOCK) if LOCK.exists() else None)
    text.write_text(show.markdown(verdict))
    VERDICT.write_text(verdict.model_dump_json(indent=2) + "\n")
    show.console(verdict)
    return verdict


def _judge(rules: Gates, holdout: Holdout, champion: str | None, ledger: Ledger) -> None:
    """Run all checks in order, cheap ones first; a `UserError` inside one becomes its block."""
    ledger.partition = holdout.partition
    with ledger.check("data contract"):
        ledger.add(integrity.contract(holdout.partition))
    model = files.read_bytes(MODEL, "run `make pipeline`")
    score = scoring.challenger(model, holdout.table)
    session = artifact.session(model)
    measured = measure(holdout, score)
    with ledger.check("evaluation"):
        ledger.add(integrity.evaluation(model, measured))
    with ledger.check("predictions"):
        integrity.recorded(holdout, score)
    ledger.add(
        absolute.sanity(score),
        *absolute.baseline(rules.beats_baseline, measured),
        *absolute.floors(rules.floors, measured),
    )
    with ledger.check("provenance"):
        ledger.add(integrity.provenance())
    with ledger.check("batch"):
        ledger.add(integrity.batch(session, holdout.table, score))
    with ledger.check("champion"):
        relative.judge(rules, holdout, score, champion, ledger)
    with ledger.check("plausible"):
        ledger.add(*plausible.judge(rules.plausibility, session, holdout, ledger.comparisons))
    row = holdout.table.head(1)
    ledger.add(absolute.size(model, rules.cost))
    with ledger.check("p95 ms"):
        ledger.add(absolute.latency(lambda: artifact.predict(session, row), rules.cost))
