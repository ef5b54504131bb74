"""The data contract: one table."""

import polars as pl
from pandera.polars import Column, DataFrameSchema

FLIGHTS = DataFrameSchema(
    {
        "sched_dep": Column(pl.Datetime("us")),
        "carrier": Column(pl.String),
        "flight": Column(pl.Int16),
        "tailnum": Column(pl.String, metadata={"private": True}),
        "origin": Column(pl.String),
        "signal": Column(pl.Float32),
        "noise": Column(pl.Float32),
        "arr_delay": Column(pl.Int16, metadata={"known": "after"}),
    },
    strict=True,
    unique=["sched_dep", "carrier", "flight"],
    metadata={"time": "sched_dep"},
)

TABLES = {"flights": FLIGHTS}
