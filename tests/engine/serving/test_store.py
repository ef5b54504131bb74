"""What the embedded store says was known at a moment."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from mergeworthy.serving.scorer import Embedded

NOON = datetime(2024, 1, 1, 12)


def test_an_observation_does_not_outlive_its_time_where_nothing_came_after_it(tmp_path: Path) -> None:
    # given observations that hold for three hours, the newest of all at one o'clock
    rows = pl.DataFrame({"origin": ["A", "B"], "at": [NOON, NOON + timedelta(hours=1)], "wind": [1.0, 2.0]})
    about = {"by": ["origin"], "within": 3 * 3600, "until": 0}
    rows.write_parquet(tmp_path / "weather.parquet", metadata={"history": json.dumps(about)})
    store = Embedded(tmp_path, "now")
    # when it is asked before, just after, at the end of the three hours, after them, and days later
    hours = np.array([-1, 1, 4, 5, 50])
    now = np.datetime64(NOON, "us") + hours * np.timedelta64(3600, "s")
    told = store.lookup({"origin": np.array(["B"] * len(hours)), "now": now})["wind"]
    # then it tells only what still holds, as the training rows are joined
    assert np.isnan(told).tolist() == [True, True, False, True, True]
    assert np.isnan(store.lookup({"origin": np.array(["A"]), "now": now[3:4]})["wind"]).all()
