"""A double of CML 0.20.6's `comment update`, as far as this project uses it; anything else is an error.

Options and behaviour as in its bin/cml/comment/create.js, src/cml.js and src/watermark.js.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path

state_file = Path(os.environ["GITHUB_DOUBLE"])
state = json.loads(state_file.read_text())


def save() -> None:
    state_file.write_text(json.dumps(state))


parser = argparse.ArgumentParser(prog="cml", allow_abbrev=False)
parser.add_argument("command", choices=["comment"])
parser.add_argument("verb", choices=["update"])
parser.add_argument("file", type=Path)
parser.add_argument("--target", default="auto")
parser.add_argument("--publish", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("--watermark-title", default="")
options = parser.parse_args()

state["sent_by"].append("cml")
state["cml_home"] = os.environ["HOME"]
save()
(Path(os.environ["HOME"]) / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")  # CML does this globally
if options.publish:
    sys.exit("this would upload every local file the report names to a third party")
if not os.environ.get("ITERATIVE_DO_NOT_TRACK"):
    sys.exit("this would send telemetry")
token = os.environ.get("REPO_TOKEN") or sys.exit("token not found")
if state["cml"] == "fails":
    sys.exit(f"HttpError: Bad credentials ({token})")
if state["cml"] == "is refused":
    request = {"method": "POST", "body": {"body": options.file.read_text() * 1000}, "headers": {"authorization": token}}
    error = {"level": "error", "name": "HttpError", "status": 403, "message": "Resource not accessible by integration"}
    print("info: something before")
    sys.exit(json.dumps(error | {"request": request, "stack": "HttpError: …"}))

target = re.fullmatch(r"pr/(\d+)", options.target) or sys.exit(f"Failed to parse comment --target={options.target!r}")
assert int(target[1]) == state["pull_request"]
title = re.sub(r"[_*\[<]", lambda match: f"\\{match.group()}", f"CML watermark {options.watermark_title}".strip())
watermark = f'![](https://cml.dev/watermark.png#0123abc "{title}")'
pattern = re.compile(rf'!\[\]\(https://cml\.dev/watermark\.png#[0-9a-fA-F]+ "{re.escape(title)}"\)')
body = f"{options.file.read_text()}\n\n{watermark}"
if len(body) > 65_536:
    sys.exit("HttpError: Validation Failed: body is too long (maximum is 65536 characters)")
matching = [comment for comment in state["comments"][:30] if pattern.search(comment["body"])]
if matching:
    matching[-1]["body"] = body
else:
    state["comments"].append({"id": len(state["comments"]) + 1, "body": body, "user": state["me"]})
save()
if state["cml"] == "fails after it posted":
    sys.exit("Error: socket hang up")
