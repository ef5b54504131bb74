"""A double of `gh api` on a JSON file instead of GitHub: the calls of the report; any other call is an error."""

import argparse
import json
import os
import re
import sys
from pathlib import Path

state_file = Path(os.environ["GITHUB_DOUBLE"])
state = json.loads(state_file.read_text())

parser = argparse.ArgumentParser(prog="gh", allow_abbrev=False)
parser.add_argument("command", choices=["api"])
parser.add_argument("path")
parser.add_argument("--method", default="GET")
parser.add_argument("--paginate", action="store_true")
parser.add_argument("--input")
options = parser.parse_args()
payload = json.load(sys.stdin) if options.input else {}


def answer() -> str:
    path, _, query = options.path.partition("?")
    comments, call = state["comments"], f"{options.method} {path}"
    if call == f"GET repos/o/r/issues/{state['pull_request']}/comments":
        size = int(re.search(r"per_page=(\d+)", query)[1]) if query else 30
        pages = [comments[start : start + size] for start in range(0, max(len(comments), 1), size)]
        return "".join(json.dumps(page) for page in (pages if options.paginate else pages[:1]))
    if call == f"POST repos/o/r/issues/{state['pull_request']}/comments":
        comments.append({"id": len(comments) + 1, "user": state["me"]})
        return write(comments[-1])
    if match := re.fullmatch(r"PATCH repos/o/r/issues/comments/(\d+)", call):
        return write(next(comment for comment in comments if comment["id"] == int(match[1])))
    if call == "GET repos/o/r/actions/runs/77/jobs":
        return json.dumps({"total_count": len(state["jobs"]), "jobs": state["jobs"]})
    if match := re.fullmatch(r"GET repos/o/r/actions/runs/(\d+)/jobs", call):
        if match[1] not in state.get("former_jobs", {}):
            sys.exit("gh: Not Found (HTTP 404)")
        return json.dumps({"jobs": state["former_jobs"][match[1]]})
    if match := re.fullmatch(r"GET repos/o/r/check-runs/(\d+)/annotations", call):
        return json.dumps(state["annotations"][match[1]])
    if re.fullmatch(r"GET repos/o/r/commits/[0-9a-f]{40}/check-runs", call):
        return json.dumps({"check_runs": state["check_runs"]})
    if call == "POST repos/o/r/check-runs":
        state["checks"].append([payload["head_sha"], payload["conclusion"]])
        return "{}"
    sys.exit(f"the test knows no {call}")


def write(comment: dict[str, object]) -> str:
    if state["gh"] == "fails":
        sys.exit(f"gh: Resource not accessible by integration (HTTP 403)\ntoken was {os.environ['GH_TOKEN']}")
    if len(payload["body"]) > 65_536:
        sys.exit("gh: Validation Failed (HTTP 422): body is too long (maximum is 65536 characters)")
    comment["body"] = payload["body"]
    state["sent_by"].append("gh")
    return json.dumps(comment)


print(answer(), end="")
state_file.write_text(json.dumps(state))
