"""`make bench`: every table, in the project that `make demo` makes; `benchmarks/README.md` keeps the latest."""

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = Path("demo/flight-delays").resolve()
OF_TEMPLATE = ("cost", "project")  # these run in the template's environment, the others in the project's
PARTS = {  # modules and their options
    "What a team inherits": "project",
    "Latency": "cost",
    "How good the model is": "quality",
    "How fast training is": "training",
    "What answering costs": "inference",
    "How it grows": "growth --years 1 9",
    "How fast the service is": "serving",
    "Where its time goes": "serving_profile",
    "What a drift check costs": "monitoring",
    "What the gate says of bad models": "bad_models",
}
HEAD = """# Benchmarks

`make bench` wrote this page on {day}, at commit {commit}: {cores} cores of {chip}, Python {python}.
The two sides of a line ran one after the other on that machine. `drift.py` beside it prints the false alarms and the
power of the drift check; `growth.py` by itself goes on to 10 million rows, and with `--large` to 30.
"""


def chip() -> str:
    """The processor's name, as far as the system tells."""
    known = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in known if line.startswith("model name")), platform.processor())


def run(part: str, project: Path = PROJECT, slack: float = 1) -> tuple[str, bool]:
    """What a part prints, and whether it keeps its limits, which `slack` widens."""
    module, *arguments = part.split()
    if module in OF_TEMPLATE:
        command, folder = [sys.executable, "-m", f"benchmarks.{module}", str(project)], HERE.parent
    else:
        command, folder = [str(project / ".venv/bin/python"), str(HERE / f"{module}.py"), *arguments], project
    environment = os.environ | {"SLACK": str(slack)}
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=False, env=environment)
    return done.stdout.strip(), done.returncode == 0


def main() -> bool:
    """Run all parts, write the page, and say whether every limit was kept."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    facts = {"day": datetime.now(UTC).date(), "commit": commit.strip() or "unknown", "cores": os.cpu_count()}
    page = HEAD.format(**facts, chip=chip(), python=platform.python_version())
    good = True
    for number, (title, part) in enumerate(PARTS.items(), start=1):
        print(f"▶ {number}/{len(PARTS)} {title}", file=sys.stderr, flush=True)
        started = time.monotonic()
        table, kept = run(part)
        seconds = time.monotonic() - started
        took = f"`{part.split()[0]}.py`, {seconds:.0f} s{'' if kept else '; **a limit is missed**'}"
        section = f"\n## {title}\n\n{table}\n\n{took}\n"
        print(section, flush=True)
        page += section
        good &= kept
    (HERE / "README.md").write_text(page)
    return good


if __name__ == "__main__":
    if not (PROJECT / "dvc.lock").exists():
        sys.exit("error: demo/flight-delays holds no trained project: run `make demo` first")
    sys.exit(not main())
