"""Feature files that no model can be fitted to, or measured on, are named before the training starts."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.attempts import refusal

from mergeworthy import files
from mergeworthy.errors import UserError
from mergeworthy.stages import train

ROWS = pl.DataFrame(
    {"late": [True, False, None], "carrier": ["AA", "B6", None], "distance": [100.0, 200.0, None], "day": [1, 2, 3]}
)
FILES = [Path("features/2013-01.parquet"), Path("features/2013-02.parquet")]
Change = Callable[[pl.DataFrame], pl.DataFrame]


def with_(**columns: pl.Expr) -> Change:
    return lambda rows: rows.with_columns(**columns)


def same(rows: pl.DataFrame) -> pl.DataFrame:
    return rows


NEVER = pl.lit(None, pl.Boolean)
REFUSED: dict[str, tuple[Change, Change, str]] = {
    "no row with a label": (with_(late=NEVER), same, "no row of the training rows.* has a known late"),
    "no row at all": (lambda rows: rows.clear(), same, "no row of the training rows.* has a known late"),
    "one class": (with_(late=pl.lit(value=True)), same, "late is True in each of the 3 rows that have it"),
    "one row": (lambda rows: rows.head(1), same, "late is True in each of the 1 rows that have it"),
    "a holdout without a label": (same, with_(late=NEVER), "no row of features/2013-02.parquet, the holdout"),
    "a holdout of one class": (same, with_(late=pl.lit(value=False)), "2013-02.parquet, the holdout: late is False"),
    "other columns in a partition": (same, lambda rows: rows.drop("distance"), "2013-02.parquet: column distance"),
    "another type in a partition": (same, with_(distance=pl.col("day")), "2013-02.parquet: column distance"),
}
BOTH: dict[str, tuple[Change, str]] = {
    "no feature": (lambda rows: rows.select("late"), "hold no input beside keys and label"),
    "no label": (lambda rows: rows.drop("late"), "there is no label column late"),
    "a categorical feature": (with_(carrier=pl.col("carrier").cast(pl.Categorical)), "column carrier has type Categ"),
    "a decimal feature": (with_(distance=pl.col("distance").cast(pl.Decimal(10, 2))), "distance has type Decimal"),
    "a date": (with_(day=pl.lit("2013-03-04").str.to_date("%Y-%m-%d")), "column day has type Date"),
    "a list": (with_(day=pl.concat_list("day")), "column day has type List"),
    "only nulls, without a type": (with_(day=pl.lit(None)), "column day has type Null"),
    "nothing known in any column": (
        with_(carrier=pl.lit(None, pl.String), distance=pl.lit(None, pl.Float32), day=pl.lit(None, pl.Int8)),
        "all 3 inputs are null in every training row",
    ),
}
REFUSED |= {case: (change, change, message) for case, (change, message) in BOTH.items()}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("features").mkdir(exist_ok=True)


def write(training: pl.DataFrame, holdout: pl.DataFrame) -> None:
    for path, rows in zip(FILES, (training, holdout), strict=True):
        rows.write_parquet(path)


@pytest.mark.attempts("features to train on")
@pytest.mark.parametrize("case", REFUSED)
def test_untrainable_features_are_refused_in_one_line(case: str) -> None:
    training, holdout, message = REFUSED[case]
    write(training(ROWS), holdout(ROWS))

    with refusal(message):
        train.check_trainable(FILES[:1], FILES[1])


def test_fewer_rows_than_processes_are_refused() -> None:
    write(ROWS, ROWS)

    with pytest.raises(UserError, match=r"2 rows for 4 processes: lower compute\.processes"):
        train.check_trainable(FILES[:1], FILES[1], processes=4)


def test_a_column_without_values_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    empty = ROWS.with_columns(distance=pl.lit(None, pl.Float32), day=pl.col("day").cast(pl.Float32))
    write(empty, ROWS.with_columns(pl.col("distance", "day").cast(pl.Float32)))

    train.check_trainable(FILES[:1], FILES[1])

    assert "warning: null in every training row, so of no use: distance" in capsys.readouterr().err


def test_the_stage_checks_before_it_trains(january: Callable[..., None]) -> None:
    january()
    for path in FILES:
        pl.read_parquet(path).with_columns(late=pl.lit(value=True)).write_parquet(path)

    with pytest.raises(UserError, match="late is True in each of"):
        train.main()

    assert not files.MODEL.exists()
