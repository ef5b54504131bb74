"""The embedded store: values as known at a moment."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from mergeworthy.serving.scorer import EmbeddedStore

NOON = datetime(2024, 1, 1, 12)


def test_the_last_observation_expires_too(tmp_path: Path) -> None:
    # given observations that are valid for three hours, the newest of all at one o'clock
    rows = pl.DataFrame({"origin": ["A", "B"], "at": [NOON, NOON + timedelta(hours=1)], "wind": [1.0, 2.0]})
    metadata = {"by": ["origin"], "within": 3 * 3600, "until": 0}
    rows.write_parquet(tmp_path / "weather.parquet", metadata={"history": json.dumps(metadata)})
    store = EmbeddedStore(tmp_path, "now")
    # when values are looked up before, just after, at the end of the three hours, after them, and days later
    hours = np.array([-1, 1, 4, 5, 50])
    now = np.datetime64(NOON, "us") + hours * np.timedelta64(3600, "s")
    wind = store.lookup({"origin": np.array(["B"] * len(hours)), "now": now})["wind"]
    # then only values that are still valid are returned, as training rows are joined
    assert np.isnan(wind).tolist() == [True, True, False, True, True]
    assert np.isnan(store.lookup({"origin": np.array(["A"]), "now": now[3:4]})["wind"]).all()


def test_no_history_sees_an_event_that_comes_later(tmp_path: Path) -> None:
    # given two histories of several keys, in one index
    for name, hours in {"queue": [0, 1, 5], "wind": [2, 3, 4]}.items():
        at = [NOON + timedelta(hours=hour) for hour in hours]
        rows = pl.DataFrame({"origin": ["A", "B", "B"], "at": at, name: [1.0, 2.0, 3.0]})
        metadata = {"by": ["origin"], "within": None, "until": 0}
        rows.write_parquet(tmp_path / f"{name}.parquet", metadata={"history": json.dumps(metadata)})
    store = EmbeddedStore(tmp_path, "now")
    # when rows are looked up before every event, between them, at one, and after all, and for an unknown key
    origins, hours = np.array(["A", "B", "A", "B", "B", "B", "C"]), np.array([0, 1, 1, 2, 5, 9, 9])
    found = store.lookup({"origin": origins, "now": np.datetime64(NOON, "us") + hours * np.timedelta64(3600, "s")})
    # then each has the last value before it, and none that comes later
    np.testing.assert_array_equal(found["queue"], [np.nan, np.nan, 1, 2, 2, 3, np.nan])
    np.testing.assert_array_equal(found["wind"], [np.nan, np.nan, np.nan, np.nan, 3, 3, np.nan])
