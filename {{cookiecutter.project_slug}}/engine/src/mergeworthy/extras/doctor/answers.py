"""GitHub's answers by way of `gh api`, which brings the token itself; none is read, held or printed here."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ...errors import UserError
from ...process import Deadline, call

QUIET = {"GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1", "GH_PAGER": "cat"}


@dataclass(frozen=True)
class Answer:
    """A status (0: none came in time, 401: gh is not signed in), headers in lower case and the JSON."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Tell whether GitHub answered what was asked."""
        return self.status == 200


def ask(host: str, paths: Mapping[str, str]) -> dict[str, Answer]:
    """GET every path of `paths` at once; give the answers by the same names."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(paths, pool.map(lambda path: _get(host, path), paths.values()), strict=True))


def _get(host: str, path: str) -> Answer:
    command = ["gh", "api", "--hostname", host, "--include", path]
    try:
        done = call(command, host, Deadline.GLANCE, environment=QUIET)
    except UserError:
        return Answer(0)
    return read(done.stdout) or Answer(401 if "gh auth login" in done.stderr else 0)


def read(text: str) -> Answer | None:
    """Read what `gh api --include` prints: a status line, headers, an empty line, a body; None if it is not that."""
    head, _, body = text.replace("\r\n", "\n").partition("\n\n")
    first, *lines = head.splitlines() or [""]
    words = first.split()
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    try:
        return Answer(int(words[1]), json.loads(body) if body.strip() else None, headers)
    except ValueError:
        return Answer(int(words[1]), None, headers)
