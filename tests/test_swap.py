"""Another data set and another kind of model: only src/ml, params.yaml, gates.yaml and the data source are touched."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.bake import files, git
from tests.work import clone, make, python

SWAP = Path(__file__).parent / "swap"
WRITE_PARTITIONS = """
import pathlib
import sys
import polars as pl
from sklearn.datasets import load_breast_cancer

rows, label = load_breast_cancer(return_X_y=True)
table = pl.DataFrame(rows, schema=[f"measure_{number:02}" for number in range(30)]).select(
    id=pl.int_range(pl.len(), dtype=pl.Int64),
    clinic=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("north")).otherwise(pl.lit("south")),
    malignant=pl.Series(label == 0),
    *[f"measure_{number:02}" for number in range(30)],
)
for name, part in zip(["2024-q1", "2024-q2", "2024-q3"], [table[:200], table[200:400], table[400:]]):
    pathlib.Path(sys.argv[1], name).mkdir()
    part.write_parquet(f"{sys.argv[1]}/{name}/cells.parquet")
"""

SERVE = """
import numpy as np
from mergeworthy.artifact import load
from mergeworthy.release.verify import read_golden
from mergeworthy.files import ONLINE
from mergeworthy.project import registered
from mergeworthy.serving.schema import columns, request
from mergeworthy.serving.scorer import EmbeddedStore, Scorer

golden, schema = read_golden(), registered().schema
rows = request(schema, 1000).validate_json(golden.many)["rows"]
scores = Scorer(load(), EmbeddedStore(ONLINE, None), schema)(columns(schema, rows))
print(len(rows) > 100 and np.abs(scores - golden.scores).max() < 1e-5)
"""


@pytest.mark.dear
def test_another_data_set_and_model_run_the_same_pipeline_and_gate(project: Path, tmp_path: Path) -> None:
    # given the project with another src/ml, its own settings and a folder as source
    swapped, delivered = clone(project, tmp_path / "swapped"), tmp_path / "delivered"
    delivered.mkdir()
    shutil.rmtree(swapped / "src/ml")
    shutil.copytree(SWAP / "ml", swapped / "src/ml")
    for name in ("params.yaml", "gates.yaml"):
        shutil.copy(SWAP / name, swapped)
    infra = yaml.safe_load((swapped / "infra.yaml").read_text())
    infra["source"] = {"kind": "files", "url": f"{delivered}/{{partition}}/{{table}}.parquet"}
    (swapped / "infra.yaml").write_text(yaml.safe_dump(infra))
    (swapped / "data.dvc").unlink()
    python(swapped, "-c", WRITE_PARTITIONS, str(delivered))

    # when a person runs the verbs
    make(swapped, "data", "UNTIL=2024-q3")
    make(swapped, "pipeline")
    make(swapped, "gate")
    make(swapped, "imports")

    # then the newest partition was judged, and nothing outside the list was touched
    verdict = json.loads((swapped / "reports/verdict.json").read_text())
    assert (verdict["outcome"], verdict["partition"]) == ("pass", "2024-q3")
    # and the service asks for this table's columns, and answers as the model was judged
    assert python(swapped, "-c", SERVE).strip() == "True"
    changed = {line[3:] for line in git(swapped, "status", "--porcelain", "--untracked-files=all").splitlines()}
    beside = {name for name in changed if not name.startswith("src/ml/")}
    assert beside == {"params.yaml", "gates.yaml", "infra.yaml", "data.dvc", "dvc.lock"}
    assert {name.removeprefix("src/") for name in changed - beside} == {f"ml/{name}" for name in files(SWAP / "ml")}
