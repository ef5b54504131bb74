"""Where no model came to be judged, the pull request still learns why: the failed jobs' own words, in the comment."""

import os

from ..adapters import github
from ..adapters.event import Event
from ..errors import UserError
from ..paths import REPORT
from ..render.markdown import within
from ..report.verdict import MARKER
from . import comment

LIMIT = 50_000  # bytes of them all; GitHub refuses a comment of more than 65,536 characters
MOST = 2_000  # characters of one error
DEPENDABOT = "dependabot[bot]"
STORE = (
    "This run is Dependabot's, which reads secrets of its own alone: what a training needs (`DVC_CONFIG`) belongs "
    "under Settings → Secrets and variables → Dependabot as well."
)


def tell(event: Event) -> None:
    """Put what the failed jobs of this run said in the report's place, and send it as the report is sent."""
    try:
        failures = github.failures(event)
    except UserError as error:
        failures = {"GitHub": [str(error)]}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(compose(event, failures))
    comment.run()


def compose(event: Event, failures: dict[str, list[str]]) -> str:
    """Give the Markdown; what jobs said stands in code blocks, so that none of it is read as Markdown."""
    number = os.environ["GITHUB_RUN_ID"]
    run = f"[run {number}]({event.server}/{event.repository}/actions/runs/{number})"
    head = f"{MARKER}\n## ⛔ No model was judged"
    foot = f"<sub>Commit `{event.commit[:12]}` · the whole log is in {run}</sub>"
    hint = [STORE] if os.environ.get("GITHUB_ACTOR") == DEPENDABOT else []
    return "\n\n".join([head, *told(failures), *hint, foot]) + "\n"


def told(failures: dict[str, list[str]]) -> list[str]:
    """Give a paragraph for each failed job, with its own words."""
    share = LIMIT // max(len(failures), 1)
    return [
        "\n\n".join([f"**{name}** failed:", *within(share, map(_block, errors or ["it left no word why"]))])
        for name, errors in failures.items()
    ]


def _block(text: str) -> str:
    return "\n".join(f"    {line}" for line in text[:MOST].splitlines())
