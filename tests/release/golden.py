"""Golden requests: compare the answers of a running service with the judged model's predictions."""

import json
import urllib.request
from pathlib import Path

from tests.work import python

PROGRAM = """
import json
from mergeworthy.release.verify import read_golden
golden = read_golden()
print(json.dumps([golden.many.decode(), [float(score) for score in golden.scores]]))
"""


def largest_difference(project: Path, address: str) -> float:
    """Return the largest difference between a score of the service at `address` and its offline prediction."""
    body, expected = json.loads(python(project, "-c", PROGRAM))
    request = urllib.request.Request(f"http://{address}/predict", body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the test's own
        scores = json.load(answer)["scores"]
    return float(max(abs(score - offline) for score, offline in zip(scores, expected, strict=True)))
