"""`make demo`: from nothing to a judged model, saying at each step what happens and about how long is left.

Run it again and it goes on where it is: a project that is there is kept, and its verbs do only what is out of date.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bake import bake, export, outside

# What is done, the command, and about how many seconds it takes on two cores with a warm package cache.
STEPS: list[tuple[str, list[str], int]] = [
    ("put the project under git", ["git", "init", "--quiet", "--initial-branch=main"], 1),
    ("set up the environment (its packages are downloaded the first time)", ["make", "setup"], 75),
    ("fetch six months of flights, hold each to the data contract, version them", ["make", "data"], 15),
    ("run the pipeline: validate, features, train, evaluate; record the run in MLflow", ["make", "pipeline"], 60),
    ("judge the model by gates.yaml", ["make", "gate"], 10),
    ("write the report that a reviewer would read", ["make", "report"], 5),
]


def generate(folder: Path) -> Path:
    """The flights project below `folder`, made of what git knows of this template; one that is there is kept."""
    project = folder / "flight-delays"
    if not project.exists():
        print(f"▶ generate {project}", flush=True)
        with tempfile.TemporaryDirectory() as template:
            bake(export(Path(template)), folder)
    return project


def main(folder: Path) -> int:
    """Run every step in `folder`; return the exit code of the first that fails, else 0."""
    started, project = time.monotonic(), generate(folder)
    for number, (what, command, _) in enumerate(STEPS, start=1):
        left = sum(seconds for _, _, seconds in STEPS[number - 1 :])
        print(f"\n▶ {number}/{len(STEPS)} {what} (about {left} s left)", flush=True)
        code = subprocess.run(command, cwd=project, env=os.environ | outside(), check=False).returncode
        if code:
            print(f"\n{' '.join(command)} failed in {project}", file=sys.stderr)
            return code
    print(f"\n✔ {time.monotonic() - started:.0f} s in all. The project is in {project}; look at:")
    for what, where in {
        "the verdict": "reports/verdict.md",
        "the report": "reports/report.md",
        "the metrics": "reports/metrics.json",
        "the plots": "reports/plots/",
    }.items():
        print(f"  {what:<12} {project / where}")
    print(f"  {'the runs':<12} cd {project} && make mlflow")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
