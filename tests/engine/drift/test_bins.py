"""Columns in bins: every row has one, and the distance between two sides is the one that Evidently computes."""

from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from mergeworthy.drift.decision import compare
from mergeworthy.reference import Bins, batches, count, learn
from mergeworthy.stats import jensen_shannon


@pytest.fixture(scope="module")
def sides() -> tuple[pl.DataFrame, pl.DataFrame]:
    def draw(rows: int, shift: float, seed: int) -> pl.DataFrame:
        rng = np.random.default_rng(seed)
        return pl.DataFrame(
            {
                "day": [date(2024, 1, 1) + timedelta(days=int(i) * 20 // rows) for i in range(rows)],
                "number": np.where(rng.random(rows) < 0.05, np.nan, rng.normal(shift, size=rows)),
                "count": rng.poisson(2 + shift, rows),
                "flag": rng.random(rows) < 0.1,
                "city": rng.choice([*"abcdefgh", None, f"only {seed}"], rows),
                "id": [f"{seed}-{i}" for i in range(rows)],
            }
        )

    return draw(8000, 0, 1), draw(3000, 0.4, 2)


KINDS = {"number": "number", "count": "number", "flag": "number", "city": "category", "id": "category"}


def test_the_distance_is_evidentlys(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    # here, because importing Evidently takes long
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    # given columns in the reference's bins / when Evidently computes the same distance
    bins = learn(sides[0].lazy(), KINDS)
    coded = [side.select(cut.code(name).cast(pl.String) for name, cut in bins.items()).to_pandas() for side in sides]
    reference, current = (Dataset.from_pandas(side, DataDefinition(categorical_columns=[*bins])) for side in coded)
    metrics = [ValueDrift(column=name, method="jensenshannon") for name in bins]
    theirs = Report(metrics).run(current, reference).dict()["metrics"]
    # then both distances are the same for each column
    before, now = (count([side], bins, "day").total() for side in sides)
    ours = [float(jensen_shannon(now[name], before[name])) for name in bins]
    assert [float(metric["value"]) for metric in theirs] == pytest.approx(ours, abs=1e-9)
    assert ours[0] > 0.1


def test_every_row_has_a_bin_and_batches_make_no_difference(sides: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    bins = learn(sides[0].lazy(), KINDS)
    whole = count([sides[1]], bins, "day")
    parts = count((sides[1].slice(start, 700) for start in range(0, 3000, 700)), bins, "day")
    streamed = count(batches(sides[1].lazy(), [*bins, "day"]), bins, "day")
    for name, counts in whole.columns.items():
        assert counts.sum() == 3000
        assert (counts == parts.columns[name]).all()
        assert (counts == streamed.columns[name]).all()
    labelled = dict(zip(bins["city"].labels, whole.total()["city"], strict=True))
    assert labelled["(missing)"] == sides[1]["city"].null_count()
    assert labelled["(new)"] == (sides[1]["city"] == "only 2").sum()


def test_every_rare_value_is_rare_and_none_is_new() -> None:
    # given one common value, three rare ones and two seen once
    rows = pl.DataFrame({"city": [*"aaaa", *"bbccdd", "e", "f", None, "g"]})
    bins = Bins(kind="category", values=["a"], rare=["b", "c", "d"], once=["e", "f"])

    def shares(*, of_reference: bool) -> dict[str, int]:
        codes = rows.select(bins.code("city", of_reference=of_reference))["city"]
        return dict(zip(bins.labels, np.bincount(codes, minlength=len(bins.labels)), strict=True))

    # then only unseen values are new; in the reference itself those seen once are, because others had not seen them
    assert shares(of_reference=False) == {"(missing)": 1, "a": 4, "(rare)": 8, "(new)": 1}
    assert shares(of_reference=True) == {"(missing)": 1, "a": 4, "(rare)": 6, "(new)": 3}


def test_a_column_without_values_is_no_error() -> None:
    bins = learn(pl.LazyFrame({"n": pl.Series([None, None], dtype=pl.Float32)}), {"n": "number"})
    assert bins == {"n": Bins(kind="number")}
    assert count([], bins, "n").blocks == []


def test_blocks_keep_the_order_of_their_values() -> None:
    rows = pl.DataFrame({"batch": [2, 10, 10, 1], "n": [1.0, 2.0, 3.0, 4.0]})
    counts = count([rows[:2], rows[2:]], learn(rows.lazy(), {"n": "number"}), "batch")
    assert counts.blocks == ["1", "2", "10"]
    assert counts.rows.tolist() == [1, 1, 2]


@pytest.mark.parametrize(("column", "named"), [("carrier", True), ("tailnum", False)])
def test_values_of_a_private_column_are_not_named(column: str, named: bool) -> None:
    # given a column whose values the contract keeps private, and one whose values it does not
    bins = Bins(kind="category", values=["N42"])
    reference = SimpleNamespace(bins={column: bins}, counts={column: [0, 9, 0, 0]}, limit=lambda *_: 0.1)
    now = SimpleNamespace(columns={column: np.array([[0, 1, 0, 8]])})
    (compared,) = compare(cast("Any", reference), cast("Any", now), [slice(0, 1)])
    assert ("N42" in compared.model_dump_json()) == named
    assert len(set(compared.labels)) == 4
