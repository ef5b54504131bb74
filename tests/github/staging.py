"""Cutting one job out of a workflow, so that each job is a run of `act` of its own.

`act` runs all jobs of a workflow with one token and one HOME, and stops for good after a called workflow has failed.
Here each run of `act` sees the job that is due and, for each job before it, a stub that ends with the recorded result
and outputs. So `act` itself evaluates `if`, `needs`, `runs-on`, `with` and outputs, and nothing is shared between jobs.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .workflows import Workflow, ancestors, needs

STUB_RUNNER = "standin-stub"
PLAN, PROBE, CALLER_PROBE = "standin-plan", "standin-probe", "standin-caller-probe"


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    result: str
    outputs: dict[str, str] = field(default_factory=dict)


def cut(workflow: Workflow, job: str, ended: Mapping[str, Ended], out: Path, *, cancelled: bool = False) -> Workflow:
    """The workflow with `job`, stubs for what it needs, and probes that write what `act` made of it into `out`."""
    due = dict(workflow["jobs"][job])
    before = ancestors(workflow, job)
    if any(ended[one].result == "cancelled" for one in before):
        due = json.loads(_tell_cancelled(json.dumps(due), needs(due), ended))
    if cancelled and "if" in due:  # of a step this is another question, which act answers
        due["if"] = re.sub(r"(?<![\w.])cancelled\(\)", "true", str(due["if"]))
    probes = {PROBE: _probe([job], out / "needs.json")}
    if "uses" not in due:
        probes[PLAN] = _plan(due, out / "runs-on.jsonl")
    return {**workflow, "jobs": {**_stubs(workflow, before, ended), job: due, **probes}}


def cut_caller(
    workflow: Workflow, job: str, ended: Mapping[str, Ended], out: Path, *, cancelled: bool = False
) -> Workflow:
    """The same for a job that calls another workflow; the called one always has the run's own token."""
    made = cut(workflow, job, ended, out, cancelled=cancelled)
    made["jobs"][CALLER_PROBE] = _probe([job], out / "caller.json")
    del made["jobs"][PROBE]
    secrets = made["jobs"][job].get("secrets") or {}
    if secrets != "inherit":
        made["jobs"][job]["secrets"] = {**secrets, "GITHUB_TOKEN": "${{ github.token }}"}
    return made


def only_outputs(called: Workflow, ended: Mapping[str, Ended]) -> Workflow:
    """A called workflow whose jobs are all stubs, so that `act` evaluates its outputs."""
    done = {name: Ended("success", one.outputs) for name, one in ended.items()}
    return {**called, "jobs": _stubs(called, set(called["jobs"]), done)}


def _stubs(workflow: Workflow, names: set[str], ended: Mapping[str, Ended]) -> dict[str, Any]:
    return {name: _stub(workflow, name, ended) for name in workflow["jobs"] if name in names}


def _stub(workflow: Workflow, name: str, ended: Mapping[str, Ended]) -> dict[str, Any]:
    """A job that ends as recorded. It keeps its own needs only where they matter to `success()`, for speed."""
    end = ended[name]
    matters = any(ended[one].result != "success" for one in ancestors(workflow, name))
    return {
        "runs-on": STUB_RUNNER,
        "needs": needs(workflow["jobs"][name]) if matters else [],
        "if": "${{ false }}" if end.result in ("skipped", "cancelled") else "${{ always() }}",
        "steps": [{"run": "exit 1" if end.result == "failure" else "exit 0"}],
        "outputs": {key: value.replace("${{", "${{ '${{' }}") for key, value in end.outputs.items()},
    }


def _probe(wanted: list[str], file: Path) -> dict[str, Any]:
    write = f"printf '%s' \"$NEEDS\" > '{file}'"
    step = {"if": "${{ always() }}", "run": write, "env": {"NEEDS": "${{ toJSON(needs) }}"}}
    return {"runs-on": STUB_RUNNER, "needs": wanted, "if": "${{ always() }}", "steps": [step]}


def _plan(job: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """A job that writes down what `runs-on` comes to."""
    labels = job["runs-on"]
    whole = re.fullmatch(r"\s*\$\{\{(.*)\}\}\s*", labels, re.DOTALL) if isinstance(labels, str) else None
    value = f"${{{{ toJSON({whole[1].strip()}) }}}}" if whole else json.dumps(labels)
    step = {
        "if": "${{ always() }}",
        "run": f"printf '%s' \"$RUNS_ON\" | tr -d '\\n' >> '{file}'; echo >> '{file}'",
        "env": {"RUNS_ON": value},
    }
    strategy = {"strategy": job["strategy"]} if "strategy" in job else {}
    return {"runs-on": STUB_RUNNER, "needs": needs(job), "if": "${{ always() }}", "steps": [step], **strategy}


def _tell_cancelled(text: str, direct: list[str], ended: Mapping[str, Ended]) -> str:
    """`act` has no cancelled jobs: what asks about them is answered here, in the job's text."""
    for name in direct:
        if ended[name].result == "cancelled":
            text = re.sub(rf"needs\.{re.escape(name)}\.result", "'cancelled'", text)
    results = _literal([ended[name].result for name in direct])
    text = re.sub(r"needs\.\*\.result", lambda _: results, text)
    whole = _literal({name: {"result": ended[name].result, "outputs": ended[name].outputs} for name in direct})
    return re.sub(r"toJSON\(\s*needs\s*\)", lambda _: f"toJSON({whole})", text, flags=re.IGNORECASE)


def _literal(value: object) -> str:
    """An expression for a value, as it stands inside a JSON string."""
    return json.dumps("fromJSON('" + json.dumps(value).replace("'", "''") + "')")[1:-1]
