"""`make drift`: is the champion still right for what comes in? Drift is a result, never an error."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from ... import holdout, ml, settings
from ...errors import BrokenDataError, UserError
from ...paths import DRIFT, DRIFT_REFERENCE, MODEL
from ...text import say
from ..dvc_cli import dvc
from ..dvc_files import md5
from . import current, evidence, served, show
from .counts import count
from .decide import decide
from .decision import Decision, Rule
from .performance import LABELLED
from .reference import Reference, inputs, labelled, read


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


def broken(reference: Reference, why: str) -> Decision:
    """Say what is broken: nobody learns from such data, and the champion stays."""
    rule = Rule(name="data contract", evidence="data", fired=True, why=f"{why}.")
    told = f"The data is broken, so nothing is trained: {why}."
    return Decision(outcome="broken", sentence=told, model=reference.model, rules=[rule])


def _examine(reference: Reference, until: str | None, folder: Path) -> Decision:
    gates, session = settings.gates(), holdout.session(MODEL.read_bytes())
    new, block = current.partitions(reference, until, folder), gates.bootstrap.block
    known, noted = [pl.DataFrame(schema=LABELLED)], served.answers(reference.model)
    needed = [*inputs(session), block, ml.LABEL]

    def parts() -> Iterator[pl.DataFrame]:
        for rows in new.values():
            for part in served.rows(rows, needed, session, noted):
                known.append(labelled(part, block))
                yield part

    counts = count(parts(), reference.bins, block)
    decision = decide(reference, counts, pl.concat(known), gates.bootstrap, gates.drift)
    return decision.model_copy(update={"partitions": list(new)})
