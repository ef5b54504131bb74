"""Whether the partitions that main has too hold what they held there: rows can be taken out of the data itself."""

from collections.abc import Iterator

import polars as pl

from ..errors import UserError
from ..paths import DATA_DVC
from ..project import registered
from ..verdict import Check
from .champion import Champion
from .coverage import missing
from .partition import Data, key, labels

NAMED = 6  # partitions


def check(found: Champion, today: Data, holdout: str) -> Iterator[Check]:
    """Warn of partitions whose files are not those at the champion's commit; of the holdout, how many rows differ."""
    if not found.data:
        return
    name = f"{DATA_DVC} at {found.name}"
    try:
        then = Data.named(found.data, name, today.store)
    except UserError as error:
        why = f"What changed in the data cannot be told ({error}): compare with care."
        yield Check(name="data", result="warn", why=why)
        return
    changed = sorted(part for part in then.files.keys() & today.files.keys() if then.files[part] != today.files[part])
    if not changed:
        return
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    why = f"Other data than on main in {', '.join(changed[-NAMED:])}{more}."
    if holdout in changed:
        why += f" {_rows(then, today, holdout)}"
    yield Check(name="data", result="warn", figure=len(changed), limit=0, why=f"{why} A reviewer decides on it.")


def _rows(then: Data, today: Data, holdout: str) -> str:
    """Return in a sentence which rows of the holdout's main table are gone, new, or have another label."""
    try:
        old, new = labels(then.main(holdout)), labels(today.main(holdout))
        target = registered().target
        gone, more = missing(old, new).drop_nulls(target).height, missing(new, old).drop_nulls(target).height
        both = old.join(new, on=key(), nulls_equal=True, suffix=" now")
        other = both.filter(pl.col(registered().target).ne_missing(pl.col(f"{registered().target} now"))).height
    except (UserError, pl.exceptions.PolarsError) as error:
        return f"What differs in the holdout cannot be told ({str(error).splitlines()[0]})."
    known = old.drop_nulls(registered().target).height
    return (
        f"Of {known:,} labelled rows that main had in the holdout {gone:,} are gone and {other:,} have another label "
        f"in the data; {more:,} labelled ones are new."
    )
