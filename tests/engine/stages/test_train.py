"""One process or several, in memory or in parts: the same model, within noise; a process that dies ends them all."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from mergeworthy import artifact, holdout, paths
from mergeworthy.errors import UserError
from mergeworthy.stages import distributed as parts
from mergeworthy.stages import distributed as workers
from mergeworthy.stages import train

FILES = [Path("features/2013-01.parquet")]


def trained() -> dict[str, float | None]:
    train.main()
    newest = holdout.read()
    return holdout.figures(newest.label, artifact.predict(artifact.session(paths.MODEL.read_bytes()), newest.table))


def test_two_processes_train_the_same_model_within_noise(january: Callable[..., None]) -> None:
    january()
    one = trained()
    january(processes=2)
    two = trained()
    assert pl.read_csv("reports/training.csv")["epoch"].to_list() == [1, 2]  # written once
    assert two["auc"] == pytest.approx(one["auc"], abs=0.005)
    assert two["log_loss"] == pytest.approx(one["log_loss"], abs=0.005)


def test_rows_that_do_not_fit_the_memory_are_read_in_parts(january: Callable[..., None]) -> None:
    january()
    whole = trained()
    assert parts.needed(FILES, 8) == 1
    # given memory for a fifth of the rows
    january(memory_gb=0.004)
    with parts.dealt(FILES, 0.004) as dealt:
        tables = [part.collect() for part in dealt]
    # then each row is in one part, and the model is as good
    assert len(tables) > 4
    assert pl.concat(tables).sort("sched_dep", "carrier", "flight").equals(pl.read_parquet(FILES))
    in_parts = trained()
    assert in_parts["auc"] == pytest.approx(whole["auc"], abs=0.005)
    assert in_parts["log_loss"] == pytest.approx(whole["log_loss"], abs=0.005)
    assert not parts.SHARDS.exists()


def test_many_small_files_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given 40 files of 100 numbers, and memory for a quarter of them
    monkeypatch.chdir(tmp_path)
    files = [tmp_path / f"{number}.parquet" for number in range(40)]
    for number, file in enumerate(files):
        pl.DataFrame({"n": range(number * 100, number * 100 + 100)}).write_parquet(file)
    # when they are dealt / then each part has a file for each part, and a sample of all
    with parts.dealt(files, 32e-6) as dealt:
        assert len(dealt) == 4
        assert len(list(parts.SHARDS.glob("*/*.parquet"))) == 4 * 4
        tables = [part.collect()["n"] for part in dealt]
    assert all(table.mean() == pytest.approx(2000, rel=0.05) for table in tables)
    assert sorted(number for table in tables for number in table) == list(range(4000))


def killed() -> None:
    """The second process dies in the middle, while the first one waits for it."""
    with workers.joined("cpu"):
        from torch import distributed

        if distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.barrier()


def test_a_process_that_dies_ends_the_training_in_one_sentence() -> None:
    with pytest.raises(UserError, match=r"training process 1 of 2 ended by signal 9, all are stopped"):
        workers.launch(2, killed)
