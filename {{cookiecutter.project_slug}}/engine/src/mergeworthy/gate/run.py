"""`make gate`: the checks of a model in order, cheap ones first, and the verdict."""

from .. import artifact, files
from .. import verdict as show
from ..adapters import git
from ..config import gates
from ..config.gates import Gates
from ..holdout import Holdout, measure, read
from ..paths import CHAMPION, LOCK, MODEL, REPORT, VERDICT
from ..verdict import Verdict
from . import champion as scoring
from . import checks, comparison
from .checks import Ledger

# DOC gate.__init__: Judge `models/model.onnx` by gates.yaml, and against the model that main points to. Whatever
# cannot be told blocks. A rerun on the same commit and data gives the same verdict; of its figures only `p95 ms` is
# measured anew.


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
    text.write_text(show.verdict_markdown(verdict))
    VERDICT.write_text(verdict.model_dump_json(indent=2) + "\n")
    show.print_verdict(verdict)
    return verdict


def _judge(rules: Gates, holdout: Holdout, champion: str | None, ledger: Ledger) -> None:
    """Run all checks in order, cheap ones first; a `UserError` inside one becomes its block."""
    ledger.partition = holdout.partition
    with ledger.check("data contract"):
        ledger.add(checks.contract(holdout.partition))
    model = files.read_bytes(MODEL, "run `make pipeline`")
    score = scoring.challenger(model, holdout.table)
    session = artifact.session(model)
    measured = measure(holdout, score)
    with ledger.check("evaluation"):
        ledger.add(checks.evaluation(model, measured))
    with ledger.check("predictions"):
        checks.recorded(holdout, score)
    ledger.add(
        checks.sanity(score),
        *checks.baseline(rules.beats_baseline, measured),
        *checks.floors(rules.floors, measured),
    )
    with ledger.check("provenance"):
        ledger.add(checks.provenance())
    with ledger.check("batch"):
        ledger.add(checks.batch(session, holdout.table, score))
    with ledger.check("champion"):
        comparison.judge(rules, holdout, score, champion, ledger)
    with ledger.check("plausible"):
        ledger.add(*checks.judge_plausibility(rules.plausibility, session, holdout, ledger.comparisons))
    row = holdout.table.head(1)
    ledger.add(checks.size(model, rules.cost))
    with ledger.check("p95 ms"):
        ledger.add(checks.latency(lambda: artifact.predict(session, row), rules.cost))
