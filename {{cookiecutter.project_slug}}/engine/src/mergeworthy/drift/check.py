"""`make drift`: is the champion still right for what comes in? Drift is a result, never an error."""

import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

from .. import artifact, files
from .. import config as settings
from ..adapters.dvc import dvc
from ..config.gates import Drift
from ..data.contract import validate
from ..data.predictions import DAMAGED, OTHER_COLUMNS, OTHER_MODEL, logged_columns, read_log
from ..data.sources import Source, open_source
from ..errors import BrokenDataError, UserError
from ..files import md5
from ..paths import DATA, DRIFT, DRIFT_REFERENCE, MODEL, partition
from ..project import registered
from ..reference import BATCH, LABELLED, SCORE, Reference, count, inputs, labelled, read, scored
from ..render import BLUE, DASH, GREY, ORANGE, chart, counted, details, figure, points, table
from ..stages.features import build
from ..text import NAME, code, label, prose, say
from .decision import Column, Decision, Log, Rule, decide

# DOC drift.current: What came since the champion was made: the source's next partitions, held to the contract, as
# feature rows.

Tables = Mapping[str, pl.DataFrame]


def partitions(reference: Reference, until: str | None, folder: Path) -> dict[str, pl.LazyFrame]:
    """Give feature rows of each partition that is newer than the reference, up to `until`; tables lie in `folder`.

    Raises `BrokenDataError` where one does not keep the contract, `UserError` where the source cannot be read.
    """
    before = partition(reference.partitions[-1], str(DRIFT_REFERENCE))
    source = open_source(settings.infra().source)
    new = [name for name in source.partitions() if name > before and (until is None or name <= until)]
    for name in new:
        tables = source.read(name)
        validate(name, tables)
        _write(folder / name, tables)
    if new:
        _write(folder / before, _history(before, source))  # what the first hours of the next one look back on
    pairs = zip([before, *new], new, strict=False)
    return {name: build(name, previous, settings.params(), folder) for previous, name in pairs}


def _history(name: str, source: Source) -> Tables:
    if (DATA / name).is_dir():
        return {
            table: files.read_parquet(DATA / name / f"{table}.parquet", "run `make data`")
            for table in registered().schemas
        }
    return source.read(name)


def _write(folder: Path, tables: Tables) -> None:
    folder.mkdir(parents=True)
    for name, schema in registered().schemas.items():
        tables[name].select(list(schema.columns)).write_parquet(folder / f"{name}.parquet")


# DOC drift.served: What production was asked and answered: the prediction log, held against the rows that the source
# delivers meanwhile. The log has a row at once, its label comes with the source's partitions, days later; whatever
# has none yet counts as an input and a prediction, and not for performance. Whoever may ask the service may write to
# the log, so an answer counts only if it came before its row's moment had passed, and for the inputs that the source
# delivers of that row. Inputs that differ are training-serving skew: production asks about something else than what
# is learned.

MOMENT, OF_SOURCE = "(moment)", " (source)"


class Served:
    """The answers of one model; `figures` is whole when the rows of every partition have been taken."""

    def __init__(self, answers: pl.DataFrame, left_out: Counter[str]) -> None:
        self._answers, self._columns = answers, Counter[str]()
        self.figures = Log(
            damaged=left_out[DAMAGED], other_model=left_out[OTHER_MODEL], other_columns=left_out[OTHER_COLUMNS]
        )

    def rows(self, delivered: pl.LazyFrame, source: Path, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield those feature rows of a partition that have an answer that counts, with its score.

        `source` is the partition's main table as it was delivered.
        """
        counts = self._compare(files.read_parquet(source, "run `make data`"))
        held = delivered.join(counts.lazy(), on=registered().key, maintain_order="left")
        return held.select(*needed, SCORE).collect_batches(chunk_size=BATCH)

    def _compare(self, source: pl.DataFrame) -> pl.DataFrame:
        """Return key and score of the newest answer that counts for each row; count what does not."""
        key = registered().key
        compared = [name for name in logged_columns(registered().schema) if name not in key]
        told = source.select(*key, *(pl.col(name).alias(name + OF_SOURCE) for name in compared), _moment(source))
        pairs = self._answers.join(told, on=key, maintain_order="left").with_columns(
            # A row without a moment is never late.
            in_time=(pl.col("time") <= pl.col(MOMENT)).fill_null(value=True),
            **{name: pl.col(name).eq_missing(pl.col(name + OF_SOURCE)) for name in compared},
        )
        in_time = pairs.filter("in_time")
        good = in_time.filter(pl.all_horizontal(pl.lit(value=True), *compared))
        newest = good.unique(key, keep="last", maintain_order=True)
        skewed = in_time.unique(key, keep="last", maintain_order=True).join(newest, on=key, how="anti")
        self._columns.update({name: skewed.height - int(skewed[name].sum()) for name in compared})
        asked, punctual = pairs.select(key).n_unique(), newest.height + skewed.height
        old = self.figures
        self.figures = old.model_copy(
            update={
                "rows": old.rows + asked,
                "counted": old.counted + newest.height,
                "late": old.late + asked - punctual,
                "skewed": old.skewed + skewed.height,
                "columns": {name: rows for name, rows in self._columns.most_common() if rows},
            }
        )
        return newest.select(*key, pl.col("score").cast(pl.Float32).alias(SCORE))


def read_served(model: str) -> Served | None:
    """Read the answers of `model` (its MD5); return None if infra.yaml does not want the log to be looked at."""
    log = settings.infra().serving.log
    if not log.drift:
        return None
    if not set(registered().key) <= set(logged_columns(registered().schema)):
        raise UserError(
            f"infra.yaml: serving.log.drift: the log does not hold the key of a row: {', '.join(registered().key)}"
        )
    noted = read_log(log.url or str(log.place), model, log.options)
    return Served(noted.rows, noted.left_out)


def disagreement(figures: Log, most: float) -> str:
    """Return why a log with these figures is broken, in a sentence."""
    columns = ", ".join(f"{name} in {rows:,}" for name, rows in list(figures.columns.items())[:5])
    return (
        f"the prediction log disagrees with the source in {figures.skew:.1%} of {figures.skewed + figures.counted:,} "
        f"rows ({columns}), drift.maximum_skew in gates.yaml is {most:.1%}: clients send other values than the "
        "source delivers, or somebody else writes to the log"
    )


def _moment(source: pl.DataFrame) -> pl.Expr:
    """Each row's own moment in UTC; the contract's `time_zone` says which clock the data is in."""
    about = registered().schema.metadata or {}
    if not (time := about.get("time")):
        return pl.lit(None, pl.Datetime("us", "UTC")).alias(MOMENT)
    zone = about.get("time_zone", "UTC")

    def utc(moment: pl.Expr) -> pl.Expr:
        here = moment.cast(pl.Datetime("us")).dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
        return here.dt.convert_time_zone("UTC")

    try:
        # The hour that a clock skips in spring is the one after it.
        told = pl.coalesce(utc(pl.col(time)), utc(pl.col(time).dt.offset_by("1h"))).alias(MOMENT)
        source.head(0).select(told)
    except pl.exceptions.ComputeError:
        raise UserError(f"ml/schema.py: metadata time_zone is {zone!r}: a name such as Europe/Rome is one") from None
    return told


# DOC drift.evidence: Evidently's HTML, for people: the bins that the decision was made on, with Evidently's own
# figure for each column. It is rendered from counts, so it costs the same for a thousand rows as for ten million, and
# shows what was compared. What costs is each column's drawings, so those that moved most are shown;
# `reports/drift.json` has all of them.

ROWS, MOST = 10_000, 20  # that the shares are rendered as, columns that are shown
METHOD = "jensenshannon"


def write(path: Path, decision: Decision) -> None:
    """Write the report on the newest window; where Evidently is not installed, say so."""
    columns = [column for column in decision.columns if column.threshold][:MOST]  # the furthest moved come first
    if find_spec("evidently") is None or not columns:
        say(f"{path} is not written: it takes Evidently (dependency group `monitor`) and a whole window")
        return
    with warnings.catch_warnings(action="ignore"):  # of Evidently's own dependencies
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        names = named(columns)
        limits = {name: one.threshold[-1] for name, one in zip(names, columns, strict=True)}
        definition = DataDefinition(categorical_columns=names)
        now = pd.DataFrame({name: spread(one.now, one.labels) for name, one in zip(names, columns, strict=True)})
        before = pd.DataFrame({name: spread(one.before, one.labels) for name, one in zip(names, columns, strict=True)})
        report = Report([DataDriftPreset(columns=names, method=METHOD, per_column_threshold=limits)])
        run = report.run(Dataset.from_pandas(now, definition), Dataset.from_pandas(before, definition))
        run.save_html(str(path))


def named(columns: Sequence[Column]) -> list[str]:
    """Return a name for each column that means nothing to HTML; numbered where two would be called the same."""
    names = [label(column.name, NAME) for column in columns]
    return names if len({*names}) == len(names) else [f"{place:02} {name}" for place, name in enumerate(names)]


def spread(shares: list[float], labels: list[str]) -> list[str]:
    """Give `ROWS` values in these shares, as exactly as so many rows can."""
    ends = np.rint(np.cumsum(shares) / max(sum(shares), 1e-12) * ROWS).astype(int)
    ordered = [f"{place:02} {label(name, NAME)}" for place, name in enumerate(labels)]
    return np.repeat(ordered, np.diff(ends, prepend=0)).tolist()


# DOC drift.show: The decision for people: `reports/drift.md`, which becomes the text of a retraining pull request.

MARKS = {"quiet": "✅", "retrain": "🔁", "broken": "⛔"}
WORDS = {"quiet": "The champion stays", "retrain": "A new model is called for", "broken": "The data is broken"}
TABLE, PICTURES, BINS = 8, 3, 12


def decision_markdown(decision: Decision) -> str:
    """Verdict first; then the rules that fired, what moved most, and the labelled performance over time."""
    parts = [f"## {MARKS[decision.outcome]} {WORDS[decision.outcome]}", prose(decision.sentence), _compared(decision)]
    parts += [_log(decision.log), _rules(decision.fired), _moved(decision.columns), _performance(decision)]
    parts.append(details("All rules", _table(decision.rules)) if len(decision.rules) > 1 else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def _compared(decision: Decision) -> str:
    if not decision.reference or not decision.partitions:
        return ""
    known, windows = decision.reference, decision.windows
    told = f"Compared: {', '.join(code(name) for name in decision.partitions[-12:])}"
    if windows:
        told += f", windows {' and '.join(f'{code(w.first)} to {code(w.last)} ({w.rows:,} rows)' for w in windows)}"
    base = f"{code(known.first)} to {code(known.last)} ({counted(known.rows, 'row')})"
    return f"{told}; with {base}, from which the champion was made."


def _log(log: Log | None) -> str:
    """The prediction log beside the source: how many rows count, and why others do not."""
    if log is None:
        return ""
    reasons = {
        f"other inputs than the source ({log.skew:.1%} of those asked for in time)": log.skewed,
        "asked for after their moment": log.late,
    }
    lines = {"of another model": log.other_model, "of other columns": log.other_columns, "damaged": log.damaged}
    left_out = [f"{counted(rows, 'row')} {why}" for why, rows in reasons.items() if rows]
    left_out += [f"{counted(number, 'line')} {why}" for why, number in lines.items() if number]
    told = f"Prediction log: {log.counted:,} of {counted(log.rows, 'row')} asked for count"
    differs = ", ".join(f"{code(name)} in {rows:,}" for name, rows in list(log.columns.items())[:TABLE])
    told += f"; left out: {', '.join(left_out)}." if left_out else "."
    return told + (f" What differs from the source: {differs}." if differs else "")


def _rules(fired: list[Rule]) -> str:
    return f"### What fired\n\n{_table(fired)}" if fired else ""


def _table(rules: list[Rule]) -> str:
    rows = [
        [
            code(rule.name),
            rule.evidence,
            "🔴" if rule.fired else "",
            figure(rule.figure),
            figure(rule.threshold),
            prose(rule.why),
        ]
        for rule in rules[:60]
    ]
    return table(["Rule", "Evidence", "", "Figure:", "Threshold:", "Why"], rows)


def _moved(columns: list[Column]) -> str:
    seen = [column for column in columns if column.distance]
    if not seen:
        return ""
    rows = [[code(c.name), figure(c.distance[-1]), figure(c.threshold[-1]), prose(_where(c))] for c in seen[:TABLE]]
    head = table(["Column", "Distance:", "Usual, up to:", "Where most"], rows)
    pictures = [f"{code(c.name)}\n\n{_picture(c)}" for c in seen[:PICTURES]]
    caption = "🔵 bars are the newest window, the 🟠 line what the champion learned from."
    return "\n\n".join(["### What moved most", head, caption, *pictures])


def _where(column: Column) -> str:
    change = np.array(column.now) - np.array(column.before)
    place = int(np.abs(change).argmax())
    return f"{column.labels[place]}: {column.before[place]:.1%} → {column.now[place]:.1%}"


def _picture(column: Column) -> str:
    before, now = np.array(column.before), np.array(column.now)
    shown = sorted(np.argsort(-np.maximum(before, now), kind="stable")[:BINS])
    lines = [("bar", BLUE, now[shown]), ("line", ORANGE, before[shown])]
    return chart(("bins", "share of rows"), points(column.labels[place] for place in shown), lines)


def _performance(decision: Decision) -> str:
    """The first metric, stretch by stretch, beside what it was on the holdout."""
    holdout = decision.reference.performance if decision.reference else {}
    metric = next(iter(holdout), None)
    told = [stretch for stretch in decision.history if metric in stretch.performance]
    if metric is None or len(told) < 2:
        return ""
    values = np.array([stretch.performance[metric].value for stretch in told[-24:]])
    level = np.full(len(values), holdout[metric].value)
    low = float(min(values.min(), level[0]))
    lines = [("line", GREY, level), ("line", BLUE, values)]
    drawn = chart((f"{metric} to", metric), points(stretch.last for stretch in told[-24:]), lines, low=low * 0.98)
    recent = decision.recent.performance.get(metric) if decision.recent else None
    now = f"{figure(recent.value)} ± {recent.error:.4f}" if recent else DASH
    caption = f"🔵 {code(metric)} on labelled rows, ⚪ on the champion's holdout ({figure(level[0])}); now {now}."
    return f"### Labelled performance\n\n{caption}\n\n{drawn}"


def run(until: str | None = None) -> Decision:
    """Decide, and write `reports/drift.json`, `.md` and, where Evidently is installed, `.html`."""
    for path in (MODEL, DRIFT_REFERENCE):
        if not path.exists():
            dvc("pull", str(path))
    reference = read()
    if reference.model != md5(MODEL):
        raise UserError(f"{DRIFT_REFERENCE} is about another model than {MODEL}: run `make pipeline`")
    DRIFT.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            decision = _examine(reference, until, Path(folder))
        except BrokenDataError as error:
            decision = broken(reference, str(error))
    DRIFT.write_text(decision.model_dump_json(indent=1) + "\n")
    DRIFT.with_suffix(".md").write_text(decision_markdown(decision))
    if decision.windows:
        write(DRIFT.with_suffix(".html"), decision)
    say(decision.sentence)
    return decision


def broken(reference: Reference, why: str, what: str = "data contract") -> Decision:
    """Say what is broken: nobody learns from such data, and the champion stays."""
    rule = Rule(name=what, evidence="data", fired=True, why=f"{why}.")
    told = f"The data is broken, so nothing is trained: {why}."
    return Decision(outcome="broken", sentence=told, model=reference.model, rules=[rule])


def _examine(reference: Reference, until: str | None, folder: Path) -> Decision:
    gates, session = settings.gates(), artifact.load()
    new, block = partitions(reference, until, folder), gates.bootstrap.block
    known, log = [pl.DataFrame(schema=LABELLED)], read_served(reference.model)
    needed = [*inputs(session), block, registered().target]

    def parts() -> Iterator[pl.DataFrame]:
        for name, rows in new.items():
            table = folder / name / f"{registered().main}.parquet"
            for part in log.rows(rows, table, needed) if log else scored(rows.select(needed), session):
                known.append(labelled(part, block))
                yield part

    counts = count(parts(), reference.bins, block)
    decision = decide(reference, counts, pl.concat(known), gates.bootstrap, gates.drift)
    if log and new:
        decision = _held_against(reference, decision, log.figures, gates.drift)
    return decision.model_copy(update={"partitions": list(new)})


def _held_against(reference: Reference, decision: Decision, log: Log, policy: Drift) -> Decision:
    """Add what the log showed; a log that disagrees with the source in too many rows is broken, whatever it says."""
    enough = log.skewed + log.counted >= policy.window.minimum_rows
    if enough and log.skew > policy.maximum_skew:
        decision = broken(reference, disagreement(log, policy.maximum_skew), "prediction log")
    elif not log.counted:
        told = f"Nothing can be told: {log.rows:,} of the rows that came are in the prediction log, and none counts."
        decision = decision.model_copy(update={"sentence": told})
    return decision.model_copy(update={"log": log})
