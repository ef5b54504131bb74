#!/usr/bin/env python3
"""CML 0.20.6: `comment update` as in its source, with the options that we may use, one page of comments, its mark."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

parser = argparse.ArgumentParser(prog="cml", allow_abbrev=False)
parser.add_argument("command", choices=["comment"])
parser.add_argument("verb", choices=["update"])
parser.add_argument("file", type=Path)
parser.add_argument("--target", required=True)
parser.add_argument("--publish", action=argparse.BooleanOptionalAction, default=True)
parser.add_argument("--watermark-title", default="")
options = parser.parse_args()
if options.publish:
    sys.exit("this would upload every local file that the report names to a third party")
if not os.environ.get("ITERATIVE_DO_NOT_TRACK"):
    sys.exit("this would send telemetry")


def api(*arguments: str, body: dict[str, str] | None = None) -> object:
    """GitHub's REST API, with the token that CML reads."""
    environment = os.environ | {"GH_TOKEN": os.environ["REPO_TOKEN"]}
    text = json.dumps(body) if body else None
    command = ["gh", "api", *arguments, *(["--input", "-"] if body else [])]
    done = subprocess.run(command, input=text, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


comments = f"repos/{os.environ['GITHUB_REPOSITORY']}/issues/{options.target.removeprefix('pr/')}/comments"
mark = f'"CML watermark {options.watermark_title}"'
body = {"body": f"{options.file.read_text()}\n\n![](https://cml.dev/watermark.png#{os.environ['GITHUB_SHA']} {mark})"}
page = api(comments)
assert isinstance(page, list)
found = [
    comment["id"] for comment in page if re.search(rf"watermark\.png#[0-9a-f]+ {re.escape(mark)}", comment["body"])
]
if found:
    api("--method", "PATCH", f"{comments.rsplit('/', 2)[0]}/comments/{found[-1]}", body=body)
else:
    api(comments, body=body)
