"""Where the time of a request goes: samples of the running service, by the code that was running.

One client sends one row after the other. Runs like `serving.py`; py-spy samples from outside, so the service is
unchanged.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from serving import SERVICE, bodies, commands, environment, free_port, load, wait

SECONDS = 8.0
PARTS = {  # of the innermost frame that matches; numpy and the standard library count for their caller
    r"onnxruntime/": "onnxruntime",
    r"mergeworthy/serving/(log|identity)|prometheus_client/": "log and metrics",
    r"mergeworthy/serving/(app|schema)|pydantic": "reading and checking the request, writing the answer",
    r"mergeworthy/|ml/": "features and the rest of scoring",
    r"bentoml|simple_di|opentelemetry|asgi/": "BentoML",
    r"starlette/|uvicorn/": "HTTP: starlette and uvicorn",
}
REST = "the event loop"


def part(stack: str) -> str:
    """Return the part of the service that a stack belongs to."""
    for frame in reversed(stack.split(";")):
        if re.match(r"lookup \(\S*mergeworthy/serving/scorer", frame):
            return "the lookup of history"
        for pattern, name in PARTS.items():
            if re.search(rf"\((\S*/)?({pattern})", frame):
                return name
    return REST


def record(pid: int, port: int, file: Path) -> None:
    """Sample the service's processes with py-spy while one client sends one row after the other."""
    body = bodies(1)[1]
    asyncio.run(load(port, body, 1, 1.0))
    options = ["--subprocesses", "--rate", "500", "--duration", str(int(SECONDS)), "--format", "raw", "--output", file]
    spy = subprocess.Popen(
        ["py-spy", "record", "--pid", str(pid), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    asyncio.run(load(port, body, 1, SECONDS))
    if spy.wait():
        sys.exit("error: py-spy may not look into other processes here: run it as root")


def main() -> None:
    """Print a Markdown table: each part's share of the time in which the worker was busy."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder, quiet = Path(name), subprocess.DEVNULL
        command = commands(folder, port)[SERVICE]
        server = subprocess.Popen(command, env=environment(folder), start_new_session=True, stdout=quiet, stderr=quiet)
        try:
            wait(port)
            record(server.pid, port, folder / "samples")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
        samples = [line.rsplit(" ", 1) for line in (folder / "samples").read_text().splitlines()]
    counts: Counter[str] = Counter()
    for stack, times in samples:
        if "serve (" in stack and "mergeworthy/serving/server.py" in stack:
            counts[part(stack)] += int(times)
    print("| where the time of a row goes | share |\n|---|---|")
    for name, samples_of_part in counts.most_common():
        print(f"| {name} | {samples_of_part / counts.total():.0%} |")


if __name__ == "__main__":
    main()
