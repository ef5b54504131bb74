"""Stage `validate`: every partition in data/ keeps the contract; what was seen is noted for gate and report."""

import json

from rich.progress import track

from .. import files, paths
from ..data.contract import validate
from ..errors import UserError, run
from ..paths import CONTRACT, DATA, partitions
from . import base

RESTORE = "delete it, and run `make data`"


def examine(partition: str) -> dict[str, dict[str, object]]:
    """Validate one partition; give rows and shares of nulls, table by table. Raises `UserError` at a violation."""
    tables = {path.stem: files.read_parquet(path, RESTORE) for path in paths.tables(DATA / partition)}
    validate(partition, tables)
    return {
        name: {
            "rows": table.height,
            "null": {
                column.name: round(column.null_count() / table.height, 6) for column in table if column.null_count()
            },
        }
        for name, table in tables.items()
    }


def main() -> None:
    """Write `reports/contract.json`: partition → table → rows, and column → share of nulls where there are any."""
    base.check()
    names = partitions()
    if not names:
        raise UserError("data/ holds no partition: run `make data` first")
    found = {name: examine(name) for name in track(names, "validate")}
    CONTRACT.parent.mkdir(exist_ok=True)
    CONTRACT.write_text(json.dumps({"partitions": found}, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
