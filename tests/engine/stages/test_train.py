"""One process or several, in memory or in shards: the same model within noise; a process that dies ends them all."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mergeworthy import artifact, files, holdout
from mergeworthy.errors import UserError
from mergeworthy.stages import train

FILES = [Path("features/2013-01.parquet")]


def trained() -> dict[str, float | None]:
    """Train, and return the metrics on the holdout."""
    train.main()
    newest = holdout.read()
    return holdout.figures(newest.label, artifact.predict(artifact.session(files.MODEL.read_bytes()), newest.table))


def test_two_processes_train_the_same_model_within_noise(january: Callable[..., None]) -> None:
    january()
    single = trained()
    january(processes=2)
    double = trained()
    assert pl.read_csv("reports/training.csv")["epoch"].to_list() == [1, 2]  # written once
    assert double["auc"] == pytest.approx(single["auc"], abs=0.005)
    assert double["log_loss"] == pytest.approx(single["log_loss"], abs=0.005)


def test_rows_that_do_not_fit_into_memory_are_read_in_shards(january: Callable[..., None]) -> None:
    january()
    whole = trained()
    assert train.shard_count(FILES, 8) == 1
    # given memory for a fifth of the rows
    january(memory_gb=0.004)
    with train.sharded(FILES, 0.004) as shards:
        tables = [shard.collect() for shard in shards]
    # then each row is in one shard, and the model is as good
    assert len(tables) > 4
    assert pl.concat(tables).sort("sched_dep", "carrier", "flight").equals(pl.read_parquet(FILES))
    in_shards = trained()
    assert in_shards["auc"] == pytest.approx(whole["auc"], abs=0.005)
    assert in_shards["log_loss"] == pytest.approx(whole["log_loss"], abs=0.005)
    assert not train.SHARDS.exists()


def test_many_small_files_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given 40 files of 100 numbers, and memory for a quarter of them
    monkeypatch.chdir(tmp_path)
    files = [tmp_path / f"{number}.parquet" for number in range(40)]
    for number, file in enumerate(files):
        pl.DataFrame({"n": range(number * 100, number * 100 + 100)}).write_parquet(file)
    # when they are sharded / then each shard has one file per batch of files, and is a sample of all rows
    with train.sharded(files, 32e-6) as shards:
        assert len(shards) == 4
        assert len(list(train.SHARDS.glob("*/*.parquet"))) == 4 * 4
        tables = [shard.collect()["n"] for shard in shards]
    assert all(table.mean() == pytest.approx(2000, rel=0.05) for table in tables)
    assert sorted(number for table in tables for number in table) == list(range(4000))


def killed() -> None:
    """Kill the second process in the middle, while the first one waits for it."""
    with train.process_group("cpu"):
        from torch.distributed import barrier, get_rank

        if get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        barrier()


def test_a_process_that_dies_ends_the_training_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"training process 1 of 2 ended by signal 9, all are stopped"):
        train.launch(2, killed)
