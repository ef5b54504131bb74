"""What a drift check costs beside Evidently alone: a month against all that the champion learned from.

Runs in a trained project's environment and folder. Ours is the whole verb: fetch the month, hold it to the contract,
build its features, score it, decide, render Evidently's page. Evidently gets feature files that are there already.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MONTH = "2013-07"
LIMIT = float(os.environ.get("SLACK", "1"))  # of Evidently's time; a busy machine is given more
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
    """Wall time of a program in this environment."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        theirs = seconds("-c", EVIDENTLY, str(Path(folder, "evidently.html")))
    ours = seconds("-m", "mergeworthy", "drift", "--until", MONTH)
    print("| | `make drift`, s | Evidently's defaults, s | |\n|---|---|---|---|")
    print(f"| a month against five | {ours:.1f} | {theirs:.1f} | {ours / theirs:.2f} × |")
    sys.exit(ours > LIMIT * theirs)
