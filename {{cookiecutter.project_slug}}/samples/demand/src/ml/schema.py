"""The data contract: the table of a partition (a month), with the types and ranges that its columns must keep.

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

PLACES = [
    "1 Courthouse Lane",
    "107 Quay Street",
    "150 K Road",
    "183 K Road",
    "188 Quay Street Lower Albert (EW)",
    "188 Quay Street Lower Albert (NS)",
    "19 Shortland Street",
    "2 High Street",
    "205 Queen Street",
    "210 Queen Street",
    "261 Queen Street",
    "297 Queen Street",
    "30 Queen Street",
    "45 Queen Street",
    "59 High Street",
    "61 Federal Street",
    "7 Custom Street East",
    "8 Darby Street EW",
    "8 Darby Street NS",
    "Commerce Street West",
    "Te Ara Tahuhu Walkway",
]

COUNTS = DataFrameSchema(
    {
        "time": Column(pl.Datetime("us")),  # at which the hour begins, in Auckland's time without a zone
        "place": Column(pl.String, Check.isin(PLACES)),
        "people": Column(  # who passed in the hour; null if the counter gave no reading
            pl.Int32,
            Check.in_range(0, 20_000),
            nullable=True,
            metadata={"known": "after", "max_null": 0.15, "median": (10, 1_000)},  # 17 in the lockdown of April 2020
        ),
    },
    strict=True,
    unique=["time", "place"],
    metadata={"time": "time", "time_zone": "Pacific/Auckland", "max_gap_hours": 24},
)

TABLES: dict[str, DataFrameSchema] = {"counts": COUNTS}
