"""From the looser types of CSV files and databases to the contract's, exactly or not at all."""

import polars as pl
from pandera.polars import DataFrameSchema

from ...errors import BrokenDataError


def conform(where: str, table: pl.DataFrame, schema: DataFrameSchema, *, text: bool = False) -> pl.DataFrame:
    """Cast each column to its type in the contract where that keeps every value; leave other kinds to the contract.

    `text` parses strings too, as CSV delivers nothing else. Floats may be rounded to their new width. Raises
    `BrokenDataError` naming `where` (partition/table), column and value where one does not fit.
    """
    return table.with_columns(
        _cast(f"{where}: column {name}", table[name], schema.columns[name].dtype.type, text=text)
        for name in table.columns
        if name in schema.columns
    )


def _cast(what: str, values: pl.Series, target: pl.DataType, *, text: bool) -> pl.Series:
    if values.dtype == target or not _same_kind(values.dtype, target, text=text):
        return values
    parsed = values.str.to_datetime(time_unit="us", strict=False) if _is_time_text(values, target) else values
    if values.dtype == pl.String and target == pl.Boolean:
        lowered = values.str.to_lowercase()
        parsed = lowered.replace_strict({"true": True, "false": False, "1": True, "0": False}, default=None)
    cast = parsed.cast(target, strict=False)
    lost = values.is_not_null() & cast.is_null()
    if target.is_integer() and values.dtype.is_numeric():
        lost |= (cast.cast(values.dtype, strict=False) != values).fill_null(value=False)
    elif target.is_float():
        lost |= cast.is_infinite().fill_null(value=False)
    elif isinstance(target, pl.Datetime) and values.dtype.is_temporal():
        lost |= (cast.cast(values.dtype) != values).fill_null(value=False)
    if lost.any():
        raise BrokenDataError(
            f"{what} must be {target}, but {lost.sum():,} of {len(values):,} do not fit, e.g. {values.filter(lost)[0]}"
        )
    return cast


def _same_kind(source: pl.DataType, target: pl.DataType, *, text: bool) -> bool:
    if source == pl.Null or (text and source == pl.String):
        return True
    if source.is_numeric() and target.is_numeric():
        return True
    # A time with a zone is another moment than the naive one of the same name: the query must choose.
    return (
        source in (pl.Date, pl.Datetime) and isinstance(target, pl.Datetime) and not getattr(source, "time_zone", None)
    )


def _is_time_text(values: pl.Series, target: pl.DataType) -> bool:
    return values.dtype == pl.String and isinstance(target, pl.Datetime)
