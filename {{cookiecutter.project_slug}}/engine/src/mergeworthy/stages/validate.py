"""Stage `validate`: check every partition in data/ against the contract, and count its rows and nulls."""

import json

from rich.progress import track

from .. import files
from ..data.contract import validate
from ..errors import UserError, run
from ..files import CONTRACT
from ..partitions import Partition, accepted
from . import base

HOW_TO_FIX = "delete it, and run `make data`"


def examine(partition: Partition) -> dict[str, dict[str, object]]:
    """Return rows and shares of nulls of each table; raise `UserError` if the partition violates the contract."""
    tables = {path.stem: files.read_parquet(path, HOW_TO_FIX) for path in partition.tables()}
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
    """Write `reports/contract.json`: by partition and table, the rows, and the share of nulls of columns with any."""
    base.check()
    names = accepted()
    if not names:
        raise UserError("data/ holds no partition: run `make data` first")
    counts = {name: examine(name) for name in track(names, "validate")}
    CONTRACT.parent.mkdir(exist_ok=True)
    CONTRACT.write_text(json.dumps({"partitions": counts}, indent=2) + "\n")


if __name__ == "__main__":
    run(main)
