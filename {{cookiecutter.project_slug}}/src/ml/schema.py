"""The data contract: the tables of a partition (a month), with the types and ranges that their columns must keep.

The first table is the main one: each of its rows is an example, and its `unique` columns are the key. The stage
`validate` checks every partition, the service every request: it takes rows of the main table.

What pandera cannot express is in `metadata`. Of a table:
    time           the column whose values must lie in the partition
    time_zone      the clock of that column (main table; UTC if absent)
    max_gap_hours  the longest time without a row in a complete delivery
Of a column:
    max_null       the largest share of nulls
    median         the range of the median: a change of unit shifts it, even if every value stays in range
    known          "after" if the value is known only after the event: the service does not ask for the column
    private        True if values must appear in no error and in no prediction log
"""

import polars as pl
from pandera.polars import Check, Column, DataFrameSchema

CODE = Check.str_matches(r"^[A-Z0-9]{2,3}$")
AIRPORTS = ["EWR", "JFK", "LGA"]


def number(
    dtype: type[pl.DataType],
    low: float,
    high: float,
    *,
    max_null: float = 0.0,
    median: tuple[float, float] | None = None,
    known: str = "before",
) -> Column:
    """Return a column of numbers from `low` to `high`, of which at most the share `max_null` is null."""
    metadata = {"max_null": max_null, "known": known} | ({"median": median} if median else {})
    return Column(dtype, Check.in_range(low, high), nullable=max_null > 0, metadata=metadata)


FLIGHTS = DataFrameSchema(
    {
        "sched_dep": Column(pl.Datetime("us")),  # New York time without a zone, as all times here
        "sched_arr": number(pl.Int16, 0, 1439),  # minutes after midnight, local to the destination
        "carrier": Column(pl.String, CODE),
        "flight": number(pl.Int16, 1, 9999),
        "tailnum": Column(pl.String, nullable=True, metadata={"max_null": 0.1, "private": True}),
        "origin": Column(pl.String, Check.isin(AIRPORTS)),
        "dest": Column(pl.String, CODE),
        "distance": number(pl.Int16, 1, 6000, median=(600, 1150)),  # miles; in kilometres the median is above 1,200
        # Minutes, known only after the flight: for labels and history, never for features of the same flight.
        "dep_delay": number(pl.Int16, -120, 2880, max_null=0.15, median=(-15, 15), known="after"),
        "arr_delay": number(pl.Int16, -150, 2880, max_null=0.15, median=(-30, 30), known="after"),
        "air_time": number(pl.Int16, 5, 1000, max_null=0.15, median=(90, 180), known="after"),
    },
    strict=True,
    unique=["sched_dep", "carrier", "flight"],
    metadata={"time": "sched_dep", "time_zone": "America/New_York", "max_gap_hours": 24},
)

WEATHER = DataFrameSchema(
    {
        "origin": Column(pl.String, Check.isin(AIRPORTS)),
        "time": Column(pl.Datetime("us")),  # the hour of observation
        "temp": number(pl.Float32, -40, 130, max_null=0.1, median=(28, 95)),  # °F; in °C a median is below 27
        "dewp": number(pl.Float32, -60, 110, max_null=0.1),  # °F
        "humid": number(pl.Float32, 0, 100, max_null=0.1, median=(25, 95)),  # %; a share would lie below 1
        "wind_dir": number(pl.Float32, 0, 360, max_null=0.15),  # degrees
        "wind_speed": number(pl.Float32, 0, 150, max_null=0.1, median=(6, 20)),  # mph; in m/s a median is below 6
        "wind_gust": number(pl.Float32, 0, 200, max_null=1.0),  # mph; null without gusts
        "precip": number(pl.Float32, 0, 10, max_null=0.1),  # inches
        "pressure": number(pl.Float32, 850, 1100, max_null=0.3),  # hPa
        "visib": number(pl.Float32, 0, 10, max_null=0.1),  # miles, capped at 10; in kilometres at 16
    },
    strict=True,
    unique=["origin", "time"],
    metadata={"time": "time", "max_gap_hours": 48},
)

PLANES = DataFrameSchema(  # of the aircraft that flew in the month
    {
        "tailnum": Column(pl.String),
        "year": number(pl.Int16, 1940, 2100, max_null=0.1),  # of manufacture
        "type": Column(pl.String),
        "manufacturer": Column(pl.String),
        "engines": number(pl.Int16, 1, 8),
        "seats": number(pl.Int16, 1, 900, median=(80, 250)),
        "engine": Column(pl.String),
    },
    strict=True,
    unique=["tailnum"],
)

TABLES: dict[str, DataFrameSchema] = {"flights": FLIGHTS, "weather": WEATHER, "planes": PLANES}
