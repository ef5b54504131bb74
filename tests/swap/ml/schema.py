"""Thirty measurements of a cell nucleus, all positive, and the diagnosis."""

import polars as pl
from pandera.polars import Check, Column, DataFrameSchema

MEASURES = [f"measure_{number:02}" for number in range(30)]

TABLES: dict[str, DataFrameSchema] = {
    "cells": DataFrameSchema(
        {
            "id": Column(pl.Int64),
            "clinic": Column(pl.String, Check.isin(["north", "south"])),
            "malignant": Column(pl.Boolean, nullable=True, metadata={"known": "after"}),
            **{name: Column(pl.Float64, Check.ge(0)) for name in MEASURES},
        },
        strict=True,
        unique=["id"],
    )
}
