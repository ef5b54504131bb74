"""`make drift`: is the champion still right for what comes in? Drift is a result, never an error."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from .. import artifact
from .. import config as settings
from ..adapters.dvc_cli import dvc
from ..config import Drift
from ..errors import BrokenDataError, UserError
from ..files import md5
from ..paths import DRIFT, DRIFT_REFERENCE, MODEL
from ..project import registered
from ..reference.counts import count
from ..reference.performance import LABELLED
from ..reference.record import Reference, inputs, labelled, read, scored
from ..text import say
from . import current, evidence, served, show
from .decide import decide
from .decision import Decision, Log, Rule


def run(until: str | None = None) -> Decision:
    """Decide, and write `reports/drift.json`, `.md` and, where Evidently is installed, `.html`."""
    for path in (MODEL, DRIFT_REFERENCE):
        if not path.exists():
            dvc("pull", str(path))
    reference = read()
    if reference.model != md5(MODEL):
        raise UserError(f"{DRIFT_REFERENCE} is about another model than {MODEL}: run `make pipeline`")
    DRIFT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            decision = _examine(reference, until, Path(folder))
        except BrokenDataError as error:
            decision = broken(reference, str(error))
    DRIFT.write_text(decision.model_dump_json(indent=1) + "\n")
    DRIFT.with_suffix(".md").write_text(show.markdown(decision))
    if decision.windows:
        evidence.write(DRIFT.with_suffix(".html"), decision)
    say(decision.sentence)
    return decision


def broken(reference: Reference, why: str, what: str = "data contract") -> Decision:
    """Say what is broken: nobody learns from such data, and the champion stays."""
    rule = Rule(name=what, evidence="data", fired=True, why=f"{why}.")
    told = f"The data is broken, so nothing is trained: {why}."
    return Decision(outcome="broken", sentence=told, model=reference.model, rules=[rule])


def _examine(reference: Reference, until: str | None, folder: Path) -> Decision:
    gates, session = settings.gates(), artifact.load()
    new, block = current.partitions(reference, until, folder), gates.bootstrap.block
    known, log = [pl.DataFrame(schema=LABELLED)], served.read(reference.model)
    needed = [*inputs(session), block, registered().target]

    def parts() -> Iterator[pl.DataFrame]:
        for name, rows in new.items():
            table = folder / name / f"{registered().main}.parquet"
            for part in log.rows(rows, table, needed) if log else scored(rows.select(needed), session):
                known.append(labelled(part, block))
                yield part

    counts = count(parts(), reference.bins, block)
    decision = decide(reference, counts, pl.concat(known), gates.bootstrap, gates.drift)
    if log and new:
        decision = _held_against(reference, decision, log.figures, gates.drift)
    return decision.model_copy(update={"partitions": list(new)})


def _held_against(reference: Reference, decision: Decision, log: Log, policy: Drift) -> Decision:
    """Add what the log showed; a log that disagrees with the source in too many rows is broken, whatever it says."""
    enough = log.skewed + log.counted >= policy.window.minimum_rows
    if enough and log.skew > policy.maximum_skew:
        decision = broken(reference, served.disagreement(log, policy.maximum_skew), "prediction log")
    elif not log.counted:
        told = f"Nothing can be told: {log.rows:,} of the rows that came are in the prediction log, and none counts."
        decision = decision.model_copy(update={"sentence": told})
    return decision.model_copy(update={"log": log})
