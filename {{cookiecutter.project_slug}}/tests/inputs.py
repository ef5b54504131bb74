"""Inputs that people really have, and what came of each: `python -m tests.inputs` tries all and prints the counts.

A test joins by its mark `inputs`, and tries each of its inputs through `attempt`.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.errors import UserError

RECORD = "INPUTS_TRIED"  # the environment variable that names the file with a line for each
WORKS, REFUSED = "works", "refused in one line"
Result = TypeVar("Result")


def attempt(kind: str, name: str, action: Callable[[], Result]) -> Result | str:
    """Return what `action` returns, or the one line that refuses it; any other error is the test's failure."""
    result: Result | str
    try:
        result, outcome = action(), WORKS
    except UserError as error:
        result, outcome = str(error), REFUSED
        assert "\n" not in result, f"{kind}, {name}: more than one line: {result}"
    if record := os.environ.get(RECORD):
        with Path(record).open("a") as file:
            file.write(json.dumps([kind, outcome, name]) + "\n")
    return result


def main() -> int:
    """Run every test that tries inputs, and print kinds and outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder, "tried")
        record.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-m", "inputs", *sys.argv[1:]]
        done = subprocess.run(command, env=os.environ | {RECORD: str(record)}, check=False)
        tried = [json.loads(line) for line in record.read_text().splitlines()]
    counts = Counter((kind, outcome) for kind, outcome, _ in tried)
    kinds = sorted({kind for kind, _ in counts})
    lines = [(kind, counts[kind, WORKS], counts[kind, REFUSED]) for kind in kinds]
    lines.append(("all", *(sum(line[column] for line in lines) for column in (1, 2))))
    print(f"\n{'kind of input':40} {'tried':>6} {WORKS:>6} {REFUSED:>20}")
    for kind, works, refused in lines:
        print(f"{kind:40} {works + refused:6,} {works:6,} {refused:20,}")
    print("each as its test expects" if done.returncode == 0 else "some otherwise than their test expects: see above")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
