"""Where the report comes from, in one line: what it is about can be found again."""

import os

from ..render.markdown import prose
from .facts import Facts
from .fit import Section


def section(facts: Facts) -> Section:
    """Return commit, lock, champion and run, and who made the model."""
    verdict, event = facts.verdict, facts.event
    parts = [
        f"Commit `{(verdict.commit or 'none')[:12]}`",
        f"dvc.lock `{(verdict.lock or 'none')[:12]}`",
        f"champion `{(verdict.champion or 'none')[:12]}`",
    ]
    if event.name and (run := os.environ.get("GITHUB_RUN_ID")):
        parts.append(f"[run {run}]({event.server}/{event.repository}/actions/runs/{run})")
    made = next((check.why for check in verdict.checks if check.name == "provenance"), None)
    who = [f"**Who made the model**: {prose(made)}"] if made else []
    return Section("origin", "\n\n".join([*who, f"<sub>{' · '.join(parts)}</sub>"]), rank=0)
