"""What DVC costs: `dvc repro` of the whole pipeline against the same functions in one process, and with nothing to do.

    python -m benchmarks.cost PROJECT     (a generated project with its environment and its data)

Prints a Markdown table; both runs start from the same empty caches, the in-process one includes the imports.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IN_PROCESS = """
from pipeline.stages import evaluate, features, reference, train, validate
for stage in (validate, features, train, evaluate, reference):
    stage.main()
"""
QUIET = {"DVC_NO_ANALYTICS": "1"}


def seconds(project: Path, *command: str) -> float:
    """Wall time of a command in the project's environment; raises where it fails."""
    path = f"{project / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    started = time.perf_counter()
    environment = os.environ | QUIET | {"PATH": path, "PYTHONPATH": str(project / "src")}
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def measure(project: Path) -> dict[str, float]:
    """Seconds of the three runs; the project itself is not touched."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(project, copy, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".cache", "cache", "tmp"))
        shutil.rmtree(copy / "features")
        (copy / ".venv").symlink_to(project / ".venv")
        (copy / "dvc.lock").unlink(missing_ok=True)
        in_process = seconds(copy, "python", "-c", IN_PROCESS)
        shutil.rmtree(copy / ".cache")
        full = seconds(copy, "dvc", "repro", "--force")
        nothing = seconds(copy, "dvc", "repro")
    return {"in one process": in_process, "dvc repro": full, "dvc repro, nothing to do": nothing}


def main(project: Path) -> None:
    """Print the table."""
    figures = measure(project)
    print("| run | seconds | against one process |\n|---|---|---|")
    for name, value in figures.items():
        print(f"| {name} | {value:.1f} | {value / figures['in one process']:.2f} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
