"""Where the report comes from, in one line: what it is about can be found again."""

import os

from .facts import Facts
from .fit import Section


def section(facts: Facts) -> Section:
    """Commit, lock, champion and run."""
    verdict, event = facts.verdict, facts.event
    parts = [
        f"Commit `{(verdict.commit or 'none')[:12]}`",
        f"dvc.lock `{(verdict.lock or 'none')[:12]}`",
        f"champion `{(verdict.champion or 'none')[:12]}`",
    ]
    if event.name and (run := os.environ.get("GITHUB_RUN_ID")):
        parts.append(f"[run {run}]({event.server}/{event.repository}/actions/runs/{run})")
    return Section("origin", f"<sub>{' · '.join(parts)}</sub>", rank=0)
