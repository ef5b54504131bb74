"""Check runs and commit statuses."""

from typing import Any

from ..repository import CheckRun
from ..routes import ApiError, Call, as_json, route
from ..transport import Response

ACTIONS = 15368  # the id of GitHub's own App on github.com
CONCLUSIONS = ("action_required", "cancelled", "failure", "neutral", "success", "skipped", "stale", "timed_out")


def to_json(check: CheckRun) -> dict[str, Any]:
    """A check run in GitHub's JSON."""
    return {
        "id": check.id, "name": check.name, "head_sha": check.head_sha, "status": check.status,
        "conclusion": check.conclusion,
        "output": check.output, "details_url": check.details_url,
        "app": {"id": ACTIONS if check.app == "github-actions" else 1, "slug": check.app},
    }  # fmt: skip


def _app(call: Call) -> str:
    """The slug of the App whose token calls; a job's token is that of GitHub's own."""
    return "github-actions" if call.token.kind == "actions" else call.token.login.removesuffix("[bot]")


def _write(call: Call, check: CheckRun) -> None:
    body = call.json
    conclusion = body.get("conclusion", check.conclusion)
    if conclusion is not None and conclusion not in CONCLUSIONS:
        raise ApiError(422, "Invalid request", [f"{conclusion} is not a conclusion"])
    check.conclusion = conclusion
    check.status = body.get("status", "completed" if conclusion else check.status)
    check.output = body.get("output", check.output)
    check.details_url = body.get("details_url", check.details_url)


@route("POST", "/check-runs", "")
def _create(call: Call) -> Response:
    if call.token.kind == "user":
        raise ApiError(403, "You must authenticate via a GitHub App.")
    call.need("write", "checks")
    if call.repository.git("cat-file", "-t", call.json["head_sha"], check=False) != "commit":
        raise ApiError(422, f"No commit found for SHA: {call.json['head_sha']}")
    check = CheckRun(call.github.next_id(), call.json["name"], call.json["head_sha"], "queued", app=_app(call))
    _write(call, check)
    call.repository.checks.append(check)
    return as_json(to_json(check), 201)


@route("PATCH", "/check-runs/{number}", "checks:write")
def _update(call: Call) -> dict[str, Any]:
    for check in call.repository.checks:
        if check.id == call.number:
            if check.app != _app(call):
                raise ApiError(403, "A check run can only be modified by the GitHub App that created it.")
            _write(call, check)
            return to_json(check)
    raise ApiError(404, "Not Found")


@route("GET", "/check-runs/{number}/annotations", "checks:read")
def _annotations(call: Call) -> list[dict[str, Any]]:
    """What a job's log said with `::error::`, and what GitHub adds to a job that failed."""
    jobs = [job for run in call.repository.runs.values() for job in run.jobs.values() if job.number == call.number]
    return [
        {"path": ".github", "start_line": 1, "end_line": 1, "annotation_level": "failure", "message": error}
        for job in jobs
        for error in job.errors
    ]


@route("GET", "/commits/{ref*}/check-runs", "checks:read")
def _list(call: Call) -> dict[str, Any]:
    sha = (
        call.repository.git("rev-parse", "-q", "--verify", call.arguments["ref"], check=False) or call.arguments["ref"]
    )
    found = [to_json(check) for check in call.repository.checks if check.head_sha == sha]
    found = [check for check in found if call.request.query.get("check_name", check["name"]) == check["name"]]
    return {"total_count": len(found), "check_runs": found}


@route("POST", "/statuses/{sha}", "statuses:write")
def _status(call: Call) -> Response:
    status = {"sha": call.arguments["sha"], "context": "default", **call.json}
    call.repository.statuses.append(status)
    return as_json(status, 201)


@route("GET", "/commits/{ref}/status", "statuses:read")
def _combined(call: Call) -> dict[str, Any]:
    sha = (
        call.repository.git("rev-parse", "-q", "--verify", call.arguments["ref"], check=False) or call.arguments["ref"]
    )
    latest = {status["context"]: status for status in call.repository.statuses if status["sha"] == sha}
    states = {status["state"] for status in latest.values()}
    state = (
        "failure" if states & {"failure", "error"} else "pending" if "pending" in states or not states else "success"
    )
    return {"state": state, "sha": sha, "statuses": list(latest.values()), "total_count": len(latest)}
