"""What a change alters beside the model: the label of the holdout's rows, and the data of partitions that main has."""

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
from .champion import Champion, ChampionScorer, ScoredChampion
from .rows import DataFiles, key, labels, rows_not_in

NAMED_KEYS = 3  # keys of params.yaml in one sentence
NAMED_PARTITIONS = 6  # partitions in one sentence


def check_label(
    labels_now: pl.DataFrame, scored: ScoredChampion, champion: Champion, scorer: ChampionScorer
) -> Iterator[Check]:
    """Warn if rows that the champion knows have another label now, or none.

    `labels_now` holds key and label of each row of the main table.
    """
    labels_then = scored.rows
    if scored.method == "todays features":  # their label is today's, not the champion's
        if (params := _to_params(_params_at(champion.commit))) is None:
            return
        labels_then = labels(scorer.data.main(scorer.holdout.partition), params)
    labels_then = labels_then.drop_nulls(registered().target)
    both = labels_then.join(labels_now, on=key(), nulls_equal=True, suffix=" now")
    changed = _count_changed(both)
    if changed:
        share = changed / both.height
        why = (
            f"{changed:,} of {both.height:,} rows ({share:.1%}) have another label than on main: "
            f"{_cause(champion, scorer)}. Both models are judged by the new label."
        )
        yield Check(name="label", result="warn", figure=share, limit=0, why=why)


def check_data(champion: Champion, today: DataFiles, holdout: str) -> Iterator[Check]:
    """Warn of partitions whose files differ from those at the champion's commit; count the holdout's changed rows."""
    if not champion.data:
        return
    try:
        former = DataFiles.of(champion.data, f"{DATA_DVC} at {champion.name}", today.store)
    except UserError as error:
        why = f"The data cannot be compared with main's ({error}): review the change of {DATA_DVC}."
        yield Check(name="data", result="warn", why=why)
        return
    shared = former.files.keys() & today.files.keys()
    changed = sorted(partition for partition in shared if former.files[partition] != today.files[partition])
    if not changed:
        return
    more = f" and {len(changed) - NAMED_PARTITIONS} more" if len(changed) > NAMED_PARTITIONS else ""
    why = f"The data differs from main's in {', '.join(changed[-NAMED_PARTITIONS:])}{more}."
    if holdout in changed:
        why += f" {_changed_rows(former, today, holdout)}"
    yield Check(name="data", result="warn", figure=len(changed), limit=0, why=f"{why} A reviewer decides on it.")


def _cause(champion: Champion, scorer: ChampionScorer) -> str:
    """Name the keys of params.yaml whose old values would change the label; if there are none, name the code."""
    old, new = _params_at(champion.commit), _flat(files.read_text(PARAMS, "restore it from git"), str(PARAMS))
    rows = scorer.data.main(scorer.holdout.partition)
    labels_now, causes = labels(rows), list[str]()
    for name in sorted(name for name in old.keys() & new.keys() if old[name] != new[name]):
        params = _to_params(new | {name: old[name]})
        if params and not _gives(rows, params, labels_now):
            causes.append(f"{name} ({old[name]} → {new[name]})")
    if not causes:
        return f"no key of {PARAMS} explains it, so the code of the label changed"
    more = f" and {len(causes) - NAMED_KEYS} more" if len(causes) > NAMED_KEYS else ""
    return f"{PARAMS} changed {', '.join(causes[:NAMED_KEYS])}{more}"


def _gives(rows: pl.LazyFrame, params: BaseModel, expected: pl.DataFrame) -> bool:
    """Return True if the label by these parameters is the expected one."""
    try:
        return labels(rows, params).equals(expected)
    except UserError:
        return False


def _params_at(commit: str) -> dict[str, Any]:
    return _flat(git.read(commit, PARAMS) or "{}", f"{PARAMS} at {commit[:12]}")


def _flat(text: str, name: str) -> dict[str, Any]:
    content = files.parse_yaml(text, name)
    if not isinstance(content, dict):
        raise UserError(f"{name}: expected keys and values, not {content!r}: restore the file from git")
    return dvc_files.flat(content, ".")


def _to_params(flat: dict[str, Any]) -> BaseModel | None:
    """Return parameters from dotted names, or None if today's code does not accept them."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *sections, last = name.split(".")
        section = nested
        for part in sections:
            section = section.setdefault(part, {})
        section[last] = value
    try:
        return registered().params.model_validate(nested)
    except ValidationError:
        return None


def _changed_rows(former: DataFiles, today: DataFiles, holdout: str) -> str:
    """Return a sentence that counts the rows of the holdout's main table that are gone, new, or have another label."""
    target = registered().target
    try:
        old, new = labels(former.main(holdout)), labels(today.main(holdout))
        gone = rows_not_in(new, old).drop_nulls(target).height
        added = rows_not_in(old, new).drop_nulls(target).height
        relabelled = _count_changed(old.join(new, on=key(), nulls_equal=True, suffix=" now"))
    except (UserError, pl.exceptions.PolarsError) as error:
        return f"The holdout's rows cannot be compared ({str(error).splitlines()[0]})."
    labelled = old.drop_nulls(target).height
    return (
        f"Of {labelled:,} labelled rows that main had in the holdout {gone:,} are gone and {relabelled:,} have another "
        f"label in the data; {added:,} labelled rows are new."
    )


def _count_changed(both: pl.DataFrame) -> int:
    """Return the number of rows whose label differs from the label in the column with the suffix ` now`."""
    target = registered().target
    return both.filter(pl.col(target).ne_missing(pl.col(f"{target} now"))).height
