"""How columns become tensors."""

import warnings

import numpy as np
import polars as pl
import pytest

from mergeworthy.training import matrix, quantiles


@pytest.mark.parametrize("values", [[], [3.0], [0.0] * 99 + [1.0], list(range(100)), [1.0, float("nan"), 2.0]])
def test_edges_always_increase(values: list[float]) -> None:
    edges = quantiles(np.array(values), 8)
    assert len(edges) == 9
    assert (np.diff(edges) > 0).all()


def test_a_single_column_gives_a_tensor_that_may_be_written() -> None:
    # given one column of the right type, whose values polars hands out without a copy
    table = pl.DataFrame({"hour": [1.0, 2.0]}, schema={"hour": pl.Float32})
    with warnings.catch_warnings(action="error"):
        values = matrix(table, [pl.col("hour")], np.float32)
    # then writing to the tensor leaves the table as it is
    values.zero_()
    assert table["hour"].to_list() == [1.0, 2.0]
