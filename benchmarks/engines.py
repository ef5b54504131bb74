"""Five features of every month in data/, by polars as the stage builds them, or by pandas the same way.

    python engines.py polars|pandas [folder]

The label, the aircraft, the weather known an hour before, and how many flights left the airport in the last three
hours and how late: one join by key, two by key and time, and running sums. A month at a time, with the one before.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

COLUMNS = ["sched_dep", "carrier", "flight", "late", "seats", "humid", "origin_delay", "origin_left"]
ORDER = ["sched_dep", "carrier", "flight"]


def by_polars(paths: list[Path], out: Path) -> None:
    """The project's own functions, for some of its histories."""
    from mergeworthy import asof
    from ml import history

    flights, weather, planes = (
        pl.concat([pl.scan_parquet(path / f"{table}.parquet") for path in paths])
        for table in ("flights", "weather", "planes")
    )
    rows = flights.sort(ORDER).with_columns((pl.col("arr_delay") > 15).alias("late"))
    known = [history.aircraft(planes), history.weather(weather, 1)]
    known.append(history.delays(rows, "origin", ["origin"], pl.duration(hours=3)))
    for one in known:
        rows = asof(rows, "sched_dep", one)
    newest = pl.col("sched_dep").dt.to_string("%Y-%m") == paths[-1].name
    rows.filter(newest).select(COLUMNS).sink_parquet(out, compression="zstd")


def by_pandas(paths: list[Path], out: Path) -> None:
    """The same joins and sums."""
    import pandas as pd

    flights, weather, planes = (
        pd.concat([pd.read_parquet(path / f"{table}.parquet") for path in paths])
        for table in ("flights", "weather", "planes")
    )
    rows = flights.sort_values(ORDER)
    rows["late"] = (rows["arr_delay"] > 15).where(rows["arr_delay"].notna())
    rows = rows.merge(planes.drop_duplicates("tailnum", keep="last")[["tailnum", "seats"]], "left", "tailnum")
    weather = weather.assign(at=weather["time"] + timedelta(hours=1, microseconds=-1)).sort_values("at")
    rows = before(rows, weather[["origin", "at", "humid"]], timedelta(hours=6))
    left = rows[rows["dep_delay"].notna()]
    known = left["sched_dep"] + pd.to_timedelta(left["dep_delay"].clip(lower=0), unit="min")
    added = pd.DataFrame({"origin": left["origin"], "at": known, "sum": left["dep_delay"], "count": 1})
    taken = added.assign(at=known + timedelta(hours=3), sum=-added["sum"], count=-1)
    changes = pd.concat([added, taken]).sort_values("at", kind="stable")
    changes[["sum", "origin_left"]] = changes.groupby("origin")[["sum", "count"]].cumsum()
    changes["origin_delay"] = changes["sum"] / changes["origin_left"].where(changes["origin_left"] > 0)
    rows = before(rows, changes[["origin", "at", "origin_delay", "origin_left"]], None)
    rows["origin_left"] = rows["origin_left"].fillna(0)
    newest = rows["sched_dep"].dt.strftime("%Y-%m") == paths[-1].name
    rows.loc[newest, COLUMNS].to_parquet(out, compression="zstd")


def before(rows: Any, known: Any, within: timedelta | None) -> Any:
    """What was known strictly before the scheduled departure."""
    import pandas as pd

    joined = pd.merge_asof(
        rows, known, left_on="sched_dep", right_on="at", by="origin", tolerance=within, allow_exact_matches=False
    )
    return joined.drop(columns="at")


if __name__ == "__main__":
    engine, folder = {"polars": by_polars, "pandas": by_pandas}[sys.argv[1]], Path(*sys.argv[2:3] or [".cache"])
    months = sorted(Path("data").iterdir())
    folder.mkdir(parents=True, exist_ok=True)
    for first, month in enumerate(months):
        engine(months[max(first - 1, 0) : first + 1], folder / f"{sys.argv[1]}-{month.name}.parquet")
