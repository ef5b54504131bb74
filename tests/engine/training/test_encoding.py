"""How columns become tensors."""

import numpy as np
import pytest

from mergeworthy.training import quantiles


@pytest.mark.parametrize("values", [[], [3.0], [0.0] * 99 + [1.0], list(range(100)), [1.0, float("nan"), 2.0]])
def test_edges_always_increase(values: list[float]) -> None:
    edges = quantiles(np.array(values), 8)
    assert len(edges) == 9
    assert (np.diff(edges) > 0).all()
