"""A small project to train in: January's features in two partitions, for training and as the holdout."""

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml
from tests.engine.product import PRODUCT

from mergeworthy.project import registered

PARAMS = yaml.safe_load(Path("params.yaml").read_text())


@pytest.fixture
def january(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flights: dict[str, dict[str, pl.DataFrame]]
) -> Callable[..., None]:
    """Return a function that writes the settings; its arguments are the epochs, and keys of `compute` in infra.yaml."""
    tables = {name: table.lazy() for name, table in flights["2013-01"].items()}
    rows = registered().build_features(tables, registered().params.model_validate(PARAMS)).collect()
    monkeypatch.chdir(tmp_path)
    shutil.copy(PRODUCT / "pyproject.toml", tmp_path)  # for the processes that a test starts
    Path("features").mkdir(exist_ok=True)
    for name, part in (("2013-01", rows.head(20_000)), ("2013-02", rows.tail(6_000))):
        part.write_parquet(f"features/{name}.parquet")

    def write(*, epochs: int = 2, **compute: object) -> None:
        settings = PARAMS | {"train": PARAMS["train"] | {"epochs": epochs, "width": 64, "batch_rows": 256}}
        Path("params.yaml").write_text(yaml.safe_dump(settings))
        compute = {"device": "cpu", "threads": 1} | compute
        infra = {"source": {"kind": "flights"}, "tracking": {"uri": "x", "experiment": "x"}, "compute": compute}
        Path("infra.yaml").write_text(yaml.safe_dump(infra))

    return write
