"""What changed against main beside the model: the label of the same rows, and the data of the holdout."""

from collections.abc import Iterator
from typing import Any

import polars as pl
from pydantic import BaseModel, ValidationError

from .. import files
from ..adapters import dvc_files, git
from ..config.base import PARAMS
from ..errors import UserError
from ..paths import DATA_DVC
from ..project import registered
from ..verdict import Check
from .champion import Champion, Judge, Scored
from .rows import Data, key, labels, missing

# DOC gate.label: Whether the challenger answers the champion's question: a label with other values is another task.

NAMED_KEYS = 3  # keys


def check_label(now: pl.DataFrame, scored: Scored, found: Champion, judges: Judge) -> Iterator[Check]:
    """Warn if rows that both know have another label now (key and label of each row of the main table).

    A label that is not known any more is another one too.
    """
    then = scored.rows
    if scored.how == "todays features":  # of which the champion's label is no part
        if (old := _with(_params(found.commit))) is None:
            return
        then = labels(judges.data.main(judges.holdout.partition), old)
    both = then.drop_nulls(registered().target).join(now, on=key(), nulls_equal=True, suffix=" now")
    changed = both.filter(pl.col(registered().target).ne_missing(pl.col(f"{registered().target} now"))).height
    if changed:
        share = changed / both.height
        why = (
            f"{changed:,} of {both.height:,} rows ({share:.1%}) have another label than on main: "
            f"{_cause(found, judges)}. Both models are judged by the new one."
        )
        yield Check(name="label", result="warn", figure=share, limit=0, why=why)


def _cause(found: Champion, judges: Judge) -> str:
    """Name the keys of params.yaml with whose old value the label would be another; else it was the code."""
    old, new = _params(found.commit), _flat(files.read_text(PARAMS, "restore it from git"), str(PARAMS))
    rows = judges.data.main(judges.holdout.partition)
    now, causes = labels(rows), list[str]()
    for name in sorted(name for name in old.keys() & new.keys() if old[name] != new[name]):
        before = _with(new | {name: old[name]})
        if before and not _same(rows, before, now):
            causes.append(f"{name} ({old[name]} → {new[name]})")
    if not causes:
        return "no key of params.yaml explains it, so the code that makes the label changed"
    more = f" and {len(causes) - NAMED_KEYS} more" if len(causes) > NAMED_KEYS else ""
    return f"{PARAMS} changed {', '.join(causes[:NAMED_KEYS])}{more}"


def _same(rows: pl.LazyFrame, params: BaseModel, now: pl.DataFrame) -> bool:
    try:
        return labels(rows, params).equals(now)
    except UserError:
        return False


def _params(commit: str) -> dict[str, Any]:
    return _flat(git.read(commit, PARAMS) or "{}", f"{PARAMS} at {commit[:12]}")


def _flat(text: str, name: str) -> dict[str, Any]:
    content = files.parse_yaml(text, name)
    if not isinstance(content, dict):
        raise UserError(f"{name}: expected keys and values, not {content!r}: restore the file from git")
    return dvc_files.flat(content, ".")


def _with(flat: dict[str, Any]) -> BaseModel | None:
    """Return parameters from dotted names, or None if today's code does not take them."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *above, last = name.split(".")
        place = nested
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    try:
        return registered().params.model_validate(nested)
    except ValidationError:
        return None


# DOC gate.moved: Whether the partitions that main has too hold what they held there: rows can be taken out of the
# data itself.

NAMED_PARTS = 6  # partitions


def check_data(found: Champion, today: Data, holdout: str) -> Iterator[Check]:
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
    more = f" and {len(changed) - NAMED_PARTS} more" if len(changed) > NAMED_PARTS else ""
    why = f"Other data than on main in {', '.join(changed[-NAMED_PARTS:])}{more}."
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
