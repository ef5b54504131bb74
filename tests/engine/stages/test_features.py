"""The stage `features` builds each partition once: a new partition costs one partition."""

from pathlib import Path

import polars as pl
import pytest

from mergeworthy.config import base
from mergeworthy.partitions import Partition
from mergeworthy.stages import features
from ml.schema import TABLES


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flights: dict[str, dict[str, pl.DataFrame]]) -> Path:
    (tmp_path / "params.yaml").write_text(Path("params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    for month in ("2013-01", "2013-02"):
        add(tmp_path, month, flights[month])
    return tmp_path


def add(project: Path, month: str, tables: dict[str, pl.DataFrame]) -> None:
    (project / "data" / month).mkdir(parents=True)
    for name in TABLES:
        tables[name].head(2_000).write_parquet(project / "data" / month / f"{name}.parquet")


def run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run the stage as DVC does, which removes its outs first; return the partitions that were built."""
    for file in Path("features").glob("*"):
        file.unlink()
    names: list[str] = []
    build = features.build
    with monkeypatch.context() as patch:
        patch.setattr(features, "build", lambda name, *rest: names.append(name) or build(name, *rest))
        features.main()
    return names


def contents() -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in Path("features").iterdir()}


def test_a_new_month_is_built_alone_and_equals_a_whole_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, flights: dict[str, dict[str, pl.DataFrame]]
) -> None:
    assert run(monkeypatch) == ["2013-01", "2013-02"]
    assert run(monkeypatch) == []
    add(project, "2013-03", flights["2013-03"])
    assert run(monkeypatch) == ["2013-03"]
    grown = contents()
    for file in features.CACHE.iterdir():
        file.unlink()
    assert run(monkeypatch) == ["2013-01", "2013-02", "2013-03"]
    assert contents() == grown


def test_a_file_is_built_again_if_its_inputs_change(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch)
    # given a month that is delivered again, the next month is built again too: it looks back on the first
    january = project / "data/2013-01/flights.parquet"
    pl.read_parquet(january).head(1_000).write_parquet(january)
    assert run(monkeypatch) == ["2013-01", "2013-02"]
    # and a changed parameter builds all again
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("history_days: 14", "history_days: 7"))
    assert run(monkeypatch) == ["2013-01", "2013-02"]
    assert len(list(features.CACHE.iterdir())) == 2  # unused files are removed


def test_the_unfinished_file_of_a_killed_run_is_not_used(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features.CACHE.mkdir(parents=True)
    name = f"2013-01-{features.cache_key(Partition('2013-01'), None, base.params())}.part"
    (features.CACHE / name).write_bytes(b"PAR1 half")
    assert "2013-01" in run(monkeypatch)
    assert not list(features.CACHE.glob("*.part"))
