"""`make gate`: run all checks in order, cheap ones first, and write the verdict.

`models/model.onnx` is judged by gates.yaml, and against the model that main points to. Whatever cannot be checked
blocks. Another run on the same commit and data gives the same verdict; of its figures only `p95 ms` is measured again.
"""

from .. import artifact, files
from ..adapters import git
from ..config import gates
from ..config.gates import Gates
from ..files import CHAMPION, LOCK, MODEL, REPORT, VERDICT
from ..holdout import Holdout, measure, read
from ..verdict import Verdict, print_verdict, verdict_markdown
from . import checks, comparison
from .champion import score_challenger
from .checks import CheckCollector


def run(champion: str | None = None) -> Verdict:
    """Judge the model, write `reports/verdict.json` and `.md`, print the table; `champion` names a commit, or main."""
    VERDICT.parent.mkdir(exist_ok=True)
    markdown = VERDICT.with_suffix(".md")
    for path in (CHAMPION, VERDICT, markdown, REPORT):  # after a crash no old file may pass for this run's verdict
        path.unlink(missing_ok=True)
    collector = CheckCollector()
    with collector.check("prerequisites"):
        _judge(gates(), read(), champion, collector)
    verdict = collector.verdict(commit=git.resolve("HEAD"), lock=files.md5(LOCK) if LOCK.exists() else None)
    markdown.write_text(verdict_markdown(verdict))
    VERDICT.write_text(verdict.model_dump_json(indent=2) + "\n")
    print_verdict(verdict)
    return verdict


def _judge(rules: Gates, holdout: Holdout, champion: str | None, collector: CheckCollector) -> None:
    """Run all checks in order; a `UserError` in one of them becomes a block of that check."""
    collector.partition = holdout.partition
    with collector.check("data contract"):
        collector.add(checks.contract(holdout.partition))
    model = files.read_bytes(MODEL, checks.HOW_TO_REBUILD)
    score = score_challenger(model, holdout.table)
    session = artifact.session(model)
    measured = measure(holdout, score)
    with collector.check("evaluation"):
        collector.add(checks.evaluation(model, measured))
    with collector.check("predictions"):
        checks.predictions(holdout, score)
    collector.add(
        checks.sanity(score),
        *checks.targets(holdout),
        *checks.baseline(rules.beats_baseline, measured),
        *checks.floors(rules.floors, measured),
    )
    with collector.check("provenance"):
        collector.add(checks.provenance())
    with collector.check("batch"):
        collector.add(checks.batch(session, holdout.table, score))
    with collector.check("champion"):
        comparison.judge(rules, holdout, score, champion, collector)
    with collector.check("plausible"):
        collector.add(*checks.plausibility(rules.plausibility, session, holdout, collector.comparisons))
    row = holdout.table.head(1)
    collector.add(checks.size(model, rules.cost))
    with collector.check("p95 ms"):
        collector.add(checks.latency(lambda: artifact.predict(session, row), rules.cost))
