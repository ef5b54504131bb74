"""Ask a running service what the judged model is known to answer."""

import json
import urllib.request
from pathlib import Path

from tests.work import python

PROGRAM = """
import json
from mergeworthy.container import golden
known = golden.read()
print(json.dumps([known.many.decode(), [float(score) for score in known.scores]]))
"""


def apart(project: Path, address: str) -> float:
    """How far the answers of the service at `address` are from the offline predictions of the project's model."""
    body, scores = json.loads(python(project, "-c", PROGRAM))
    request = urllib.request.Request(f"http://{address}/predict", body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the test's own
        told = json.load(answer)
    told = told if isinstance(told, list) else told["scores"]
    assert len(told) == len(scores)
    return float(max(abs(one - other) for one, other in zip(told, scores, strict=True)))
