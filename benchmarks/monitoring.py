"""The time of a drift check beside that of Evidently alone: a month against all data of the champion.

Runs in a trained project's environment and folder. Ours is the whole verb: fetch the month, check the contract, build
the features, score them, decide, render Evidently's page. Evidently gets feature files that exist already.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MONTH = "2013-07"
MAX_RATIO = float(os.environ.get("SLACK", "1"))  # to the time of Evidently; more on a busy machine
EVIDENTLY = """
import sys, warnings
warnings.simplefilter("ignore")
import polars as pl
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from mergeworthy.artifact import inputs, session
from pathlib import Path
names = inputs(session(Path("models/model.onnx").read_bytes()))
words = [name for name, (kind, _) in names.items() if kind == pl.String]
definition = DataDefinition(categorical_columns=words, numerical_columns=[name for name in names if name not in words])
*before, now = sorted(Path("features").iterdir())
def read(*files):
    return Dataset.from_pandas(pl.read_parquet(list(files), columns=list(names)).to_pandas(), definition)
Report([DataDriftPreset()]).run(read(now), read(*before)).save_html(sys.argv[1])
"""


def seconds(*command: str) -> float:
    """Return the wall time of a Python program in this environment."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        theirs = seconds("-c", EVIDENTLY, str(Path(folder, "evidently.html")))
    ours = seconds("-m", "mergeworthy.cli", "drift", "--until", MONTH)
    print("| | `make drift`, s | Evidently's defaults, s | |\n|---|---|---|---|")
    print(f"| a month against five | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} × |")
    sys.exit(ours > MAX_RATIO * theirs)
