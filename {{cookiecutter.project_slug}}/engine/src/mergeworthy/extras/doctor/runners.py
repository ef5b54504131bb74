"""Will a job that asks for the GPU be taken? Judged from the repository variable, the runners and their releases."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from .finding import Finding, ok, problem, warning

GRACE = timedelta(days=30)  # after a newer release GitHub gives a runner no more jobs
SOON = timedelta(days=7)

MEND_VARIABLE = (
    """gh variable set {name} --body '["self-hosted","linux","x64","gpu"]', or `gh variable delete {name}`"""
)


def labels(value: str) -> list[str] | None:
    """Read the labels that a variable names, or None where it is no JSON list of them."""
    try:
        found = json.loads(value)
    except ValueError:
        return None
    valid = isinstance(found, list) and found and all(isinstance(label, str) and label.strip() for label in found)
    return found if valid else None


def variable(name: str, value: str | None) -> Finding:
    """Tell whether workflows can read the variable. Unset is fine: jobs then run on GitHub's machines."""
    if value is None:
        return ok(name, "not set, so these jobs run on GitHub's own machines")
    if labels(value) is None:
        says = f"{value!r} is not a JSON list of labels, and every workflow that reads it fails"
        return problem(name, says, MEND_VARIABLE.format(name=name))
    return ok(name, f"jobs ask for {', '.join(labels(value) or [])}")


def available(wanted: Sequence[str], runners: Sequence[Mapping[str, Any]], *, all_seen: bool) -> Finding:
    """Tell whether a runner with every label is online; `all_seen`: the organisation's could be listed, too."""
    names = ", ".join(wanted)
    fitting = [runner for runner in runners if {label.lower() for label in wanted} <= _labels(runner)]
    online = [runner["name"] for runner in fitting if runner["status"] == "online"]
    if online:
        return ok("runner", f"{len(online)} online with the labels {names} ({', '.join(sorted(online)[:3])})")
    if fitting:
        says = f"{fitting[0]['name']} has the labels {names}, but is offline: jobs wait 24 hours for it"
        return problem("runner", says, "on its machine: systemctl status 'actions-runner@*' (infra/runner/README.md)")
    says = f"none has all of the labels {names}"
    if not all_seen:
        return warning("runner", f"{says}, and your token may not see the organisation's", "ask one of its owners")
    if "self-hosted" not in {label.lower() for label in wanted}:
        return warning(
            "runner", f"{says}; a scale set on Kubernetes shows none between jobs", "kubectl get pods -n arc-runners"
        )
    return problem("runner", f"{says}: jobs wait 24 hours for one", "infra/runner/README.md makes one in ten minutes")


def _labels(runner: Mapping[str, Any]) -> set[str]:
    return {label["name"].lower() for label in runner["labels"]}


def age(versions: Mapping[str, str], releases: Mapping[str, datetime], now: datetime) -> Finding:
    """Tell whether every runner is new enough; `versions` by runner, `releases`: version → when it was published."""
    worst = now + GRACE
    for version in versions.values():
        newer = [published for release, published in releases.items() if _numbers(release) > _numbers(version)]
        worst = min([worst, *(published + GRACE for published in newer)])
    left = (worst - now).days
    says = ", ".join(f"{runner} is version {version}" for runner, version in sorted(versions.items())[:3])
    mend = "on its machine: systemctl start actions-runner-update"
    if left < 0:
        return problem("runner age", f"{says}, and gets no jobs: a newer one is out for more than 30 days", mend)
    if left <= SOON.days:
        return warning("runner age", f"{says}, and gets no jobs in {left} days: a newer one is out", mend)
    return ok("runner age", says)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
