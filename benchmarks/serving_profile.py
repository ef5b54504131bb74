"""Where a request's time goes: samples of the running service, one row after the other, by whose code was at work.

Runs like `serving.py`; py-spy samples from outside, so that nothing in the service is changed.
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

from serving import bodies, commands, environment, free_port, load, wait

SECONDS = 8.0
WHOSE = {  # the innermost frame that matches; numpy and the standard library count for whoever calls them
    r"onnxruntime/": "onnxruntime",
    r"mergeworthy/serving/store": "the lookup of history",
    r"mergeworthy/serving/(log|metrics)|prometheus_client/": "log and metrics",
    r"mergeworthy/serving/(app|contract)|pydantic": "reading and checking the request, writing the answer",
    r"mergeworthy/|ml/": "features and the rest of scoring",
    r"bentoml|simple_di|opentelemetry|asgi/": "BentoML",
    r"starlette/|uvicorn/": "HTTP: starlette and uvicorn",
}
REST = "the event loop"


def whose(stack: str) -> str:
    """Whose code a stack is in."""
    for frame in reversed(stack.split(";")):
        for pattern, name in WHOSE.items():
            if re.search(rf"\((\S*/)?({pattern})", frame):
                return name
    return REST


def record(pid: int, port: int, file: Path) -> None:
    """Let py-spy sample the service's processes while one client asks for one row after the other."""
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
    """Print a Markdown table of shares of the time in which the worker was busy."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder, quiet = Path(name), subprocess.DEVNULL
        command = commands(folder, port)["the service"]
        server = subprocess.Popen(command, env=environment(folder), start_new_session=True, stdout=quiet, stderr=quiet)
        try:
            wait(port)
            record(server.pid, port, folder / "samples")
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait()
        samples = [line.rsplit(" ", 1) for line in (folder / "samples").read_text().splitlines()]
    found: Counter[str] = Counter()
    for stack, times in samples:
        if "serve (" in stack and "mergeworthy/serving/server.py" in stack:
            found[whose(stack)] += int(times)
    print("| where the time of a row goes | share |\n|---|---|")
    for name, times in found.most_common():
        print(f"| {name} | {times / found.total():.0%} |")


if __name__ == "__main__":
    main()
