"""Months as a source delivers them, and a real DVC project that accepts them."""

import shutil
import subprocess
from pathlib import Path

import polars as pl
import yaml
from tests.engine.product import PRODUCT

Tables = dict[str, pl.DataFrame]
HERE, NEW = Path("data"), Path("source/2013-03")


def deliver(folder: Path, tables: Tables) -> None:
    folder.mkdir(parents=True)
    for table, rows in tables.items():
        rows.write_parquet(folder / f"{table}.parquet")


def make_project(folder: Path, source: dict[str, str]) -> None:
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text(
        "[core]\n    remote = r\n    analytics = false\n['remote \"r\"']\n    url = ../remote\n"
    )
    for name in (".dvcignore", ".gitignore", "pyproject.toml"):
        shutil.copy(PRODUCT / name, folder)
    tracking = {"uri": "sqlite:///mlflow.db", "experiment": "test"}
    (folder / "infra.yaml").write_text(yaml.safe_dump({"source": source, "tracking": tracking}))
    subprocess.run(["git", "init", "-q", folder], check=True)


def data_bytes() -> dict[str, bytes]:
    """Return the content of data.dvc and of each file in data/, by path."""
    return {str(path): path.read_bytes() for path in [Path("data.dvc"), *HERE.rglob("*")] if path.is_file()}


def recorded() -> dict[str, int]:
    partitions: dict[str, int] = yaml.safe_load(Path("data.dvc").read_text())["meta"]["partitions"]
    return partitions
