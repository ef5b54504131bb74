"""Rows generated from a contract keep it, and what cannot be generated is named."""

import re

import numpy as np
import polars as pl
import pytest
from pandera.polars import Check, Column, DataFrameSchema

from mergeworthy.data.contract import example_tables, matching
from mergeworthy.errors import UserError
from mergeworthy.project import registered


def test_the_rows_of_the_sample_keep_its_contract_and_can_be_joined() -> None:
    generated = example_tables(registered().schemas, 1_000)  # which validates them
    assert generated["flights"].height == 1_000
    assert generated["flights"].join(generated["planes"], on="tailnum", how="semi").height > 900
    again = example_tables(registered().schemas, 1_000)
    assert all(generated[name].equals(again[name]) for name in generated)


@pytest.mark.parametrize("pattern", [r"^[A-Z0-9]{2,3}$", r"^\d{4}-[a-f]+$", "ab?c*", r"^[^a-z]{5}\.x$", r"^K{2,}$"])
def test_a_text_matches_its_pattern(pattern: str) -> None:
    random = np.random.default_rng(0)
    assert all(re.match(pattern, matching(pattern, random)) for _ in range(50))


def test_a_pattern_with_groups_and_a_type_without_values_are_named() -> None:
    with pytest.raises(UserError, match=r"no text can be generated for the pattern \^\(a\|b\)"):
        matching("^(a|b)$", np.random.default_rng(0))
    schema = DataFrameSchema({"id": Column(pl.Int64), "picture": Column(pl.Binary)}, unique=["id"])
    with pytest.raises(UserError, match="table t: column picture has type Binary"):
        example_tables({"t": schema}, 10)


def test_limits_that_exclude_their_ends_hold() -> None:
    checks = [Check.gt(3), Check.lt(5)]
    schema = DataFrameSchema(
        {"n": Column(pl.Int32, checks), "x": Column(pl.Float64, Check.in_range(0, 1, False, False))}
    )
    generated = example_tables({"t": schema}, 500)["t"]
    assert generated["n"].unique().to_list() == [4]
    assert 0 < generated["x"].min() < generated["x"].max() < 1
