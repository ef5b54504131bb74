"""`make demo`: from nothing to a judged model, saying at each step what happens and about how long is left.

Run it again and it goes on where it is: a project that is there is kept, and its verbs do only what is out of date.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

TEMPLATE = Path(__file__).parents[1]
SLUG = "flight-delays"
GIT = ["git", "-c", "user.name=demo", "-c", "user.email=demo@localhost"]

# What is done, the command, and about how many seconds it takes on two cores with a warm package cache.
STEPS: list[tuple[str, list[str], int]] = [
    ("set up the environment (its packages are downloaded the first time)", ["make", "setup"], 75),
    ("put the project under git", ["git", "init", "--quiet", "--initial-branch=main"], 1),
    ("fetch six months of flights, hold each to the data contract, version them", ["make", "data"], 15),
    ("run the pipeline: validate, features, train, evaluate; record the run in MLflow", ["make", "pipeline"], 60),
    ("commit what was made: the lock is the model's identity", [*GIT, "add", "."], 1),
    ("judge the model by gates.yaml", ["make", "gate"], 10),
]


def main(folder: Path) -> int:
    """Run every step in `folder`; return the exit code of the first that fails, else 0."""
    project = folder / SLUG
    started = time.monotonic()
    if not project.exists():
        print(f"▶ generate {project}", flush=True)
        command = ["cookiecutter", "--no-input", "--output-dir", str(folder), str(TEMPLATE), f"project_slug={SLUG}"]
        subprocess.run(command, check=True)
    # The template's environment must not leak into the project's.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL")
    }
    environment["PATH"] = os.pathsep.join(
        p for p in environment["PATH"].split(os.pathsep) if p != str(TEMPLATE / ".venv/bin")
    )
    for number, (what, command, _) in enumerate(STEPS, start=1):
        left = sum(seconds for _, _, seconds in STEPS[number - 1 :])
        print(f"\n▶ {number}/{len(STEPS)} {what} (about {left} s left)", flush=True)
        code = subprocess.run(command, cwd=project, env=environment, check=False).returncode
        if code:
            print(f"\n{' '.join(command)} failed in {project}", file=sys.stderr)
            return code
    print(f"\n✔ {time.monotonic() - started:.0f} s in all. The project is in {project}; look at:")
    print(f"  the verdict   {project}/reports/verdict.md")
    print(f"  the metrics   {project}/reports/metrics.json")
    print(f"  the plots     {project}/reports/plots/")
    print(f"  the runs      cd {project} && make mlflow")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
