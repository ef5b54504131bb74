"""What the run took: minutes of the machine that trained, as GitHub counted them, and what the cache saved."""

import json
import os
from datetime import datetime
from typing import Any

from ..adapters import github
from ..errors import UserError
from ..render.markdown import code, counted, prose
from . import stages
from .facts import Facts
from .fit import Section


def section(facts: Facts) -> Section:
    """Tell of the job `train` where there is one, and the stages that needed no run."""
    found = stages.compared(facts.base)
    # In CI the commit's own lock is from before the run: what it names already was restored, not run.
    before = stages.compared(facts.event.commit) if facts.event.name else []
    restored = {stage.name for stage in (*found, *before) if stage.unchanged}
    saved = [stage.name for stage in found if stage.name in restored]
    cache = f"The cache saved {len(saved)} of {counted(len(found), 'stage')}"
    cache += f" ({', '.join(code(name) for name in saved)})." if saved else "."
    return Section("cost", "\n\n".join(["### Cost", " ".join([*_training(facts), cache])]), rank=5)


def _training(facts: Facts) -> list[str]:
    """Give the sentence on the job, if this is a run of GitHub's."""
    repository, run = facts.event.repository, os.environ.get("GITHUB_RUN_ID")
    if not (facts.event.name and repository and run):
        return []
    try:
        jobs = github.api(f"repos/{repository}/actions/runs/{run}/jobs?per_page=100")["jobs"]
    except UserError as error:
        return [f"GitHub did not say how long the training took ({prose(str(error), 200)})."]
    return [_sentence(job) for job in jobs if job["name"].split(" / ")[-1] == "train"][-1:]


def _sentence(job: dict[str, Any]) -> str:
    if job.get("conclusion") == "skipped" or not job.get("started_at") or not job.get("completed_at"):
        return "Nothing was trained in this run: 0 minutes."
    started, completed = (datetime.fromisoformat(job[key]) for key in ("started_at", "completed_at"))
    minutes, labels = (completed - started).total_seconds() / 60, job.get("labels") or []
    where = ", ".join(code(label) for label in labels) or "a runner without labels"
    kind = "GPU minutes" if _on_gpu(labels) else "minutes, no GPU runner,"
    return f"Training took **{minutes:.1f} {kind}** on {where}."


def _on_gpu(labels: list[str]) -> bool:
    """Tell whether these are the labels of the repository variable GPU_RUNNER, which the workflow hands over."""
    try:
        wanted = json.loads(os.environ.get("GPU_RUNNER") or "null")
    except json.JSONDecodeError:
        return False
    wanted = [wanted] if isinstance(wanted, str) else wanted
    return isinstance(wanted, list) and bool(wanted) and set(map(str, wanted)) <= set(labels)
