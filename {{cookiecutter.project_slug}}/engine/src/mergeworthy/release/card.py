"""The model card: what the model is for, how good it is and where it is not, on which data, and who may judge that.

Its form is that of Mitchell et al., Model Cards for Model Reporting, FAT* 2019; no section stands empty.
"""

from pathlib import Path
from typing import Any

from .. import files
from ..adapters import dvc_files
from ..adapters.lineage import lineage
from ..errors import UserError
from ..paths import DATA_DVC, LOCK, MODELS
from ..render.markdown import code, figure, prose, table
from ..report.facts import read_metrics, read_verdict
from ..text import say
from ..verdict import Verdict

PYPROJECT = Path("pyproject.toml")
CARD = MODELS / "card.md"


def card() -> str:
    """Write `models/card.md` and give its text."""
    project = files.read_toml(PYPROJECT).get("project")
    if not isinstance(project, dict) or not isinstance(project.get("name"), str):
        raise UserError(f"{PYPROJECT}: project.name is missing: restore it from git")
    measured = read_metrics()
    verdict = read_verdict()
    sections = {
        "Purpose": prose(str(project.get("description", ""))),
        "How good it is": _metrics(measured),
        "Where it differs": _slices(verdict),
        "What the gate said": _checks(verdict),
        "Data": _data(measured),
        "Made from": table(["", ""], [[name, code(value)] for name, value in lineage().items()]),
        "Parameters": table(["", ""], [[code(k), code(v)] for k, v in dvc_files.params(dvc_files.read(LOCK)).items()]),
    }
    parts = [f"# {prose(project['name'])}", *(f"## {title}\n\n{text}" for title, text in sections.items() if text)]
    whole = "\n\n".join(parts) + "\n"
    CARD.write_text(whole)
    return whole


def _metrics(measured: dict[str, Any]) -> str:
    rows = [[name, figure(value), figure(measured["baseline"].get(name))] for name, value in measured["model"].items()]
    said = f"On {measured['rows']:,} labelled rows of the holdout {code(measured['partition'])}, never trained on."
    return f"{said}\n\n{table(['Metric', 'Model:', 'A constant guess:'], rows)}"


def _slices(verdict: Verdict) -> str:
    worst = sorted((one for one in verdict.comparisons if one.column), key=lambda one: -one.worse_by)[:10]
    rows = [
        [f"{code(one.column)} = {code(one.value)}", f"{one.rows:,}", figure(one.challenger), figure(one.champion)]
        for one in worst
    ]
    return table(["Slice", "Rows:", "This model:", "The one before:"], rows) if rows else ""


def _checks(verdict: Verdict) -> str:
    return table(["Check", "Result", "Why"], [[prose(one.name), one.result, prose(one.why)] for one in verdict.checks])


def _data(measured: dict[str, Any]) -> str:
    rows = dvc_files.partitions(dvc_files.read(DATA_DVC))
    trained = [name for name in sorted(rows) if name < measured["partition"]]
    window = f"{code(trained[0])} to {code(trained[-1])}" if trained else "none"
    return f"Trained on {window}, {sum(rows[name] for name in trained):,} rows; data.dvc names every partition."


def run() -> None:
    """Write the card, and say where."""
    card()
    say(f"wrote {CARD}")
