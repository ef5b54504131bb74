"""`make bench`: every table, in the project that `make demo` makes."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks import cost

PROJECT = Path("demo/flight-delays").resolve()
MODULES = {  # run in the project's environment
    "How good the model is": "quality",
    "How fast training is": "training",
    "How fast the service is": "serving",
}

if __name__ == "__main__":
    if not (PROJECT / "dvc.lock").exists():
        sys.exit("error: demo/flight-delays holds no trained project: run `make demo` first")
    print(f"{os.cpu_count()} cores\n\n## What DVC costs\n", flush=True)
    cost.main(PROJECT)
    missed = 0
    for title, module in MODULES.items():
        print(f"\n## {title}\n", flush=True)
        code = Path(__file__).with_name(f"{module}.py")
        missed += subprocess.run([PROJECT / ".venv/bin/python", code], cwd=PROJECT, check=False).returncode
    sys.exit(bool(missed))  # where a figure is not what it must be
