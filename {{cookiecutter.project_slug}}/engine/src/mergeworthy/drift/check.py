"""`make drift`: is the champion still right for the data that comes in? Drift is a result, never an error.

The source's partitions that are newer than the champion's are read, checked against the contract and turned into
feature rows. The champion scores them, or the prediction log has the scores that production answered.

The prediction log. A row is in the log at once; its label comes with the source's partitions, days later. Without a
label a row counts as an input and a prediction, and not for performance. Whoever may call the service may write to the
log, so an answer counts only if it came before its row's moment had passed, and for the inputs that the source delivers
for that row. Inputs that differ are training-serving skew: production asks about other values than the model learns
from.

The decision is written for people: `reports/drift.md`, the text of a retraining pull request, and an HTML page.

Evidently renders the bins on which the decision was made, with its own figure for each column. It gets counts, not
rows, so the page costs the same for a thousand rows as for ten million, and shows what was compared. Drawing the
columns is what costs, so the page has only the columns that moved most; `reports/drift.json` has all of them.
"""

import os
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
from ..adapters import dvc
from ..adapters.actions import Event, current
from ..config.gates import Drift
from ..data.contract import validate
from ..data.predictions import DAMAGED, OTHER_COLUMNS, OTHER_MODEL, logged_columns, read_log
from ..data.sources import Source, open_source
from ..errors import BrokenDataError, UserError
from ..files import DRIFT, DRIFT_REFERENCE, MODEL, md5
from ..partitions import Partition
from ..plots import BLUE, GREY, ORANGE, Plot, Series, captioned, mermaid
from ..project import registered
from ..reference import (
    BATCH,
    SCORE,
    Reference,
    block_column,
    count,
    input_kinds,
    labelled,
    labelled_schema,
    read,
    scored,
    with_partition,
    with_watched,
)
from ..stages.features import build
from ..text import DASH, NAME, code, counted, details, figure, label, prose, say, table, unbroken
from .decision import Column, Decision, Log, Rule, Window, decide

MOMENT, OF_SOURCE = "(moment)", " (source)"  # a column, and a suffix of columns: no column of data has such names
NAMED_COLUMNS = 5  # in a sentence
CONTRACT, LOG = "data contract", "prediction log"  # what may be broken
REFRESH_DATA = "run `make data`"

Tables = Mapping[str, pl.DataFrame]


def run(until: str | None = None) -> Decision:
    """Decide, and write `reports/drift.json`, `.md` and, if Evidently is installed, `.html`."""
    for path in (MODEL, DRIFT_REFERENCE):
        if not path.exists():
            dvc.execute("pull", str(path))
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
    DRIFT.with_suffix(".md").write_text(decision_markdown(decision, current()))
    if decision.windows:
        write_html(DRIFT.with_suffix(".html"), decision)
    say(decision.sentence)
    return decision


def broken(reference: Reference, reason: str, subject: str = CONTRACT) -> Decision:
    """Return the decision for broken data: nothing is trained, and the champion stays."""
    rule = Rule(name=subject, evidence="data", fired=True, why=f"{reason}.")
    sentence = f"The data is broken, so nothing is trained: {reason}."
    return Decision(outcome="broken", sentence=sentence, model=reference.model, rules=[rule])


def _examine(reference: Reference, until: str | None, folder: Path) -> Decision:
    gates, session = settings.gates(), artifact.load()
    new, block = partitions(reference, until, folder), block_column(gates.bootstrap)
    served = read_served(reference.model)
    needed = [*input_kinds(session), block, registered().target]
    with_label = [pl.DataFrame(schema=labelled_schema())]

    def parts() -> Iterator[pl.DataFrame]:
        for name, features in new.items():
            rows = with_partition(features, name)
            main_table = name.table(registered().main, folder)
            scored_rows = served.rows(rows, main_table, needed) if served else scored(rows.select(needed), session)
            for part in scored_rows:
                with_label.append(labelled(part, block))
                yield part

    counts = count(parts(), reference.bins, block)
    decision = decide(reference, counts, pl.concat(with_label), gates.bootstrap, gates.drift)
    if served and new:
        decision = _with_log(reference, decision, served.figures, gates.drift)
    return decision.model_copy(update={"partitions": list(new)})


def _with_log(reference: Reference, decision: Decision, log: Log, policy: Drift) -> Decision:
    """Return the decision with the log's figures; `broken` if too many rows disagree with the source."""
    enough = log.skewed + log.counted >= policy.window.minimum_rows
    if enough and log.skew > policy.maximum_skew:
        decision = broken(reference, disagreement(log, policy.maximum_skew), LOG)
    elif not log.counted:
        sentence = f"Nothing can be measured: {log.rows:,} of the new rows are in the prediction log, and none counts."
        decision = decision.model_copy(update={"sentence": sentence})
    return decision.model_copy(update={"log": log})


def partitions(reference: Reference, until: str | None, folder: Path) -> dict[Partition, pl.LazyFrame]:
    """Return feature rows of each partition that is newer than the reference, up to `until`; tables lie in `folder`.

    Raise `BrokenDataError` if a partition breaks the contract, `UserError` if the source cannot be read.
    """
    newest = Partition.read(reference.partitions[-1], str(DRIFT_REFERENCE))
    source = open_source(settings.infra().source)
    new = [name for name in source.partitions() if name > newest and (until is None or name <= until)]
    for name in new:
        tables = source.read(name)
        validate(name, tables)
        _write(folder / name, tables)
    if new:
        _write(folder / newest, _tables(newest, source))  # the first hours of the next partition look back on it
    pairs = zip([newest, *new], new, strict=False)
    return {name: build(name, previous, settings.params(), folder) for previous, name in pairs}


def _tables(name: Partition, source: Source) -> Tables:
    """Return the tables of a partition from data/, or from the source if data/ does not have it."""
    if name.folder().is_dir():
        return {table: files.read_parquet(name.table(table), REFRESH_DATA) for table in registered().schemas}
    return source.read(name)


def _write(folder: Path, tables: Tables) -> None:
    folder.mkdir(parents=True)
    for name, schema in registered().schemas.items():
        tables[name].select(list(schema.columns)).write_parquet(folder / f"{name}.parquet")


class Served:
    """The answers of one model in the prediction log; `figures` is complete after `rows` of every partition."""

    def __init__(self, answers: pl.DataFrame, left_out: Counter[str]) -> None:
        self._answers, self._differing = answers, Counter[str]()
        self.figures = Log(
            damaged=left_out[DAMAGED], other_model=left_out[OTHER_MODEL], other_columns=left_out[OTHER_COLUMNS]
        )

    def rows(self, features: pl.LazyFrame, main_table: Path, needed: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield those feature rows of a partition that have an answer that counts, with its score.

        `main_table` is the partition's main table as the source delivered it.
        """
        scores = self._compare(files.read_parquet(main_table, REFRESH_DATA))
        answered = features.join(scores.lazy(), on=registered().key, maintain_order="left")
        for part in answered.select(*needed, SCORE).collect_batches(chunk_size=BATCH):
            yield with_watched(part)

    def _compare(self, source: pl.DataFrame) -> pl.DataFrame:
        """Return key and score of the newest answer that counts for each row; add to the figures what does not."""
        key = registered().key
        compared = [name for name in logged_columns(registered().schema) if name not in key]
        delivered = source.select(*key, *(pl.col(name).alias(name + OF_SOURCE) for name in compared), _moment(source))
        pairs = self._answers.join(delivered, on=key, maintain_order="left").with_columns(
            # A row without a moment is never late.
            in_time=(pl.col("time") <= pl.col(MOMENT)).fill_null(value=True),
            **{name: pl.col(name).eq_missing(pl.col(name + OF_SOURCE)) for name in compared},
        )
        in_time = pairs.filter("in_time")
        same_inputs = in_time.filter(pl.all_horizontal(pl.lit(value=True), *compared))
        newest = same_inputs.unique(key, keep="last", maintain_order=True)
        skewed = in_time.unique(key, keep="last", maintain_order=True).join(newest, on=key, how="anti")
        self._differing.update({name: skewed.height - int(skewed[name].sum()) for name in compared})
        requested = pairs.select(key).n_unique()
        before = self.figures
        self.figures = before.model_copy(
            update={
                "rows": before.rows + requested,
                "counted": before.counted + newest.height,
                "late": before.late + requested - newest.height - skewed.height,
                "skewed": before.skewed + skewed.height,
                "columns": {name: rows for name, rows in self._differing.most_common() if rows},
            }
        )
        return newest.select(*key, pl.col("score").cast(registered().task.score_type).alias(SCORE))


def read_served(model: str) -> Served | None:
    """Return the answers of `model` (its MD5); None if infra.yaml does not ask for the prediction log."""
    log = settings.infra().serving.log
    if not log.drift:
        return None
    if not set(registered().key) <= set(logged_columns(registered().schema)):
        raise UserError(
            f"infra.yaml: serving.log.drift: the log does not hold the key of a row: {', '.join(registered().key)}"
        )
    content = read_log(log.url or str(log.place), model, log.options)
    return Served(content.rows, content.left_out)


def disagreement(log: Log, maximum: float) -> str:
    """Return in a sentence why a log with these figures is broken."""
    columns = ", ".join(f"{name} in {rows:,}" for name, rows in list(log.columns.items())[:NAMED_COLUMNS])
    return (
        f"the prediction log disagrees with the source in {log.skew:.1%} of {log.skewed + log.counted:,} "
        f"rows ({columns}), drift.maximum_skew in gates.yaml is {maximum:.1%}: clients send other values than the "
        "source delivers, or somebody else writes to the log"
    )


def _moment(source: pl.DataFrame) -> pl.Expr:
    """Return each row's own moment in UTC; the contract's `time_zone` names the clock of the data."""
    metadata = registered().schema.metadata or {}
    if not (time := metadata.get("time")):
        return pl.lit(None, pl.Datetime("us", "UTC")).alias(MOMENT)
    zone = metadata.get("time_zone", "UTC")

    def utc(moment: pl.Expr) -> pl.Expr:
        local = moment.cast(pl.Datetime("us")).dt.replace_time_zone(zone, ambiguous="latest", non_existent="null")
        return local.dt.convert_time_zone("UTC")

    try:
        # The hour that a clock skips in spring is the one after it.
        moment = pl.coalesce(utc(pl.col(time)), utc(pl.col(time).dt.offset_by("1h"))).alias(MOMENT)
        source.head(0).select(moment)
    except pl.exceptions.ComputeError:
        raise UserError(f"ml/schema.py: metadata time_zone is {zone!r}: expected a name such as Europe/Rome") from None
    return moment


MARKS = {"quiet": "✅", "retrain": "🔁", "broken": "⛔"}
TITLES = {"quiet": "The champion stays", "retrain": "A new model is called for", "broken": "The data is broken"}
NEXT = {  # by outcome or, if the data is broken, by what is
    "retrain": "CI trains on the new data in a pull request, and reports on it. Merge if its verdict convinces you; "
    "close it to keep the champion, for at least `drift.cooldown_days`. The label `no-retraining` stops further ones.",
    CONTRACT: "Correct the partition at its source or, if the data is right, the contract in `src/ml/schema.py`. The "
    "champion stays, and nothing is trained. The next check that reads sound data closes this issue.",
    LOG: "Compare what clients send with what the source delivers, and look who may call the service. The champion "
    "stays, and nothing is trained. The next check whose log agrees closes this issue.",
}
READING = (
    "**Labels outweigh the rest**: if labelled rows show the champion to be as good as on its holdout, inputs that "
    "moved call for nothing.",
    "**Distance** is how far a column's shares of rows moved (Jensen-Shannon: 0 is the same, 0.83 nothing in common). "
    "_Usual_ is what the champion's own history shows by chance. 🔴 is beyond it in every window.",
    "**Rules** have the order of their worth: data, labelled performance, predictions, inputs, age.",
)
MAX_PARTITIONS, MAX_RULES, MAX_STRETCHES = 12, 60, 24  # in the Markdown
MAX_REASONS, MAX_COLUMNS, MAX_CHARTS, MAX_BINS = 8, 8, 3, 12

METHOD = "jensenshannon"  # the distance, by Evidently's name
HTML_ROWS, HTML_COLUMNS = 10_000, 20  # rows as which the shares are rendered, columns that are shown


def decision_markdown(decision: Decision, event: Event | None = None) -> str:
    """Return the outcome, its reasons, the next step, labelled performance over time, and what moved most.

    In a run of GitHub's, `event` makes links of commit and run.
    """
    parts = [
        f"## {MARKS[decision.outcome]} {TITLES[decision.outcome]}",
        _reasons(decision),
        _next(decision),
        _compared(decision),
        _log(decision.log),
        _performance(decision),
        _moved(decision.columns),
        details(f"All {len(decision.rules)} rules", _rules(decision.rules)) if len(decision.rules) > 1 else "",
        *(_foot(decision, event) if event else []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _reasons(decision: Decision) -> str:
    """Return the rules that fired, the decisive ones first; the decision's sentence if nothing is to be done."""
    if decision.outcome == "quiet" or not decision.fired:
        return prose(decision.sentence)
    lines = [f"- {'⛔' if rule.evidence == 'data' else '🔴'} {prose(rule.why)}" for rule in decision.fired]
    more = len(lines) - MAX_REASONS
    return "\n".join(lines[:MAX_REASONS] + ([f"- … and {counted(more, 'more rule')}, all below"] if more > 0 else []))


def _next(decision: Decision) -> str:
    """Return what a person does now; nothing if the champion stays."""
    broken = [rule.name for rule in decision.fired if rule.evidence == "data"]
    step = NEXT.get(broken[0] if broken else decision.outcome)
    return f"**Next**: {step}" if step else ""


def _foot(decision: Decision, event: Event) -> list[str]:
    """Return how to read the tables, behind a click, and what the text is about."""
    lines, page = "\n".join(f"- {line}" for line in READING), event.page_link("docs/operator.md")
    reading = details("New to this? How to read it", f"{lines}\n\nMore: {page}.")
    parts = [f"model `{(decision.model or 'none')[:12]}`", f"commit {event.commit_link(event.commit)}"]
    if event.name and (run := os.environ.get("GITHUB_RUN_ID")):
        artifact = " (its artifact `drift` has all columns)" if decision.columns else ""
        parts.append(f"{event.link(f'run {run}', f'actions/runs/{run}')}{artifact}")
    return [*([reading] if decision.columns else []), f"<sub>{' · '.join(parts)}</sub>"]


def _compared(decision: Decision) -> str:
    """Return which data was compared with which."""
    if not decision.reference or not decision.partitions:
        return ""
    new = f"**New data**: {', '.join(code(name) for name in decision.partitions[-MAX_PARTITIONS:])}"
    if decision.windows:
        new += f"; in windows {' and '.join(map(_span, decision.windows))}"
    return f"{new}. **Compared with** {_span(decision.reference)}, from which the champion learned."


def _span(window: Window) -> str:
    return f"{code(window.first)} to {code(window.last)} ({counted(window.rows, 'row')})"


def _log(log: Log | None) -> str:
    """Return how many rows of the prediction log count, and why others do not."""
    if log is None:
        return ""
    rows = {
        f"with other inputs than the source has ({log.skew:.1%} of those requested in time)": log.skewed,
        "requested after their moment": log.late,
    }
    lines = {"of another model": log.other_model, "of other columns": log.other_columns, "damaged": log.damaged}
    left_out = [f"{counted(number, 'row')} {reason}" for reason, number in rows.items() if number]
    left_out += [f"{counted(number, 'line')} {reason}" for reason, number in lines.items() if number]
    text = f"Prediction log: {log.counted:,} of {counted(log.rows, 'requested row')} count"
    text += f"; left out: {', '.join(left_out)}." if left_out else "."
    differing = ", ".join(f"{code(name)} in {number:,}" for name, number in list(log.columns.items())[:MAX_COLUMNS])
    return f"{text} Inputs that differ from the source: {differing}." if differing else text


def _rules(rules: list[Rule]) -> str:
    rows = [
        [
            code(rule.name),
            rule.evidence,
            "🔴" if rule.fired else "",
            figure(rule.figure),
            figure(rule.threshold),
            prose(rule.why),
        ]
        for rule in rules[:MAX_RULES]
    ]
    return table(["Rule", "Evidence", "", "Figure:", "Threshold:", "Why"], rows)


def _moved(columns: list[Column]) -> str:
    """Return a table of the columns that moved most, a chart of the first, and the next charts behind a click."""
    compared = [column for column in columns if column.distance]
    if not compared:
        return ""
    rows = [
        [
            code(c.name),
            unbroken(f"{'🔴' if c.excess > 1 else '⚪'} {figure(c.distance[-1])}"),
            figure(c.threshold[-1]),
            unbroken(prose(_largest_change(c))),
        ]
        for c in compared[:MAX_COLUMNS]
    ]
    head = table(["Column", "Distance:", "Usual, up to:", "Where most"], rows)
    first, *others = map(_chart, compared[:MAX_CHARTS])
    more = [details(f"{counted(len(others), 'chart')} more", "\n\n".join(others))] if others else []
    return "\n\n".join(["### What moved most", head, first, *more])


def _largest_change(column: Column) -> str:
    change = np.array(column.now) - np.array(column.before)
    index = int(np.abs(change).argmax())
    return f"{column.labels[index]}: {column.before[index]:.1%} → {column.now[index]:.1%}"


def _chart(column: Column) -> str:
    """Return a chart of the column's largest bins."""
    before, now = np.array(column.before), np.array(column.now)
    largest = sorted(np.argsort(-np.maximum(before, now), kind="stable")[:MAX_BINS])
    place = range(len(largest))
    series = (
        Series.of("now: the newest window", BLUE, place, now[largest], "bar"),
        Series.of("what the champion learned from", ORANGE, place, before[largest]),
    )
    labels = [column.labels[index] for index in largest]
    return captioned(Plot("column", column.name, ("bins", "share of rows"), series, labels))


def _performance(decision: Decision) -> str:
    """Return the first metric over time, beside its value on the holdout."""
    holdout = decision.reference.performance if decision.reference else {}
    metric = next(iter(holdout), None)
    stretches = [stretch for stretch in decision.history if metric in stretch.performance][-MAX_STRETCHES:]
    if metric is None or len(stretches) < 2:
        return ""
    values = np.array([stretch.performance[metric].value for stretch in stretches])
    level = np.full(len(values), holdout[metric].value)
    low = float(min(values.min(), level[0]))
    place, between = range(1, len(values) + 1), f"from {stretches[0].first} to {stretches[-1].last}"
    series = (Series.of("holdout", GREY, place, level), Series.of("labelled rows", BLUE, place, values))
    drawn = mermaid(Plot("performance", metric, (f"stretches {between}", metric), series, low=low * 0.98))
    recent = decision.recent.performance.get(metric) if decision.recent else None
    now = f"{figure(recent.value)} ± {figure(recent.error)}" if recent else DASH
    caption = f"🔵 {code(metric)} on labelled rows, ⚪ on the champion's holdout ({figure(level[0])}); now {now}."
    return f"### Labelled performance\n\n{caption}\n\n{drawn}"


def write_html(path: Path, decision: Decision) -> None:
    """Write Evidently's page on the newest window; print one line instead if Evidently is not installed."""
    columns = [column for column in decision.columns if column.threshold][:HTML_COLUMNS]  # the furthest moved first
    if find_spec("evidently") is None or not columns:
        say(f"{path} is not written: it takes Evidently (dependency group `monitor`) and a whole window")
        return
    with warnings.catch_warnings(action="ignore"):  # of Evidently's own dependencies
        import pandas as pd
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        named = dict(zip(safe_names(columns), columns, strict=True))
        limits = {name: column.threshold[-1] for name, column in named.items()}
        definition = DataDefinition(categorical_columns=list(named))
        now = pd.DataFrame({name: as_rows(column.now, column.labels) for name, column in named.items()})
        before = pd.DataFrame({name: as_rows(column.before, column.labels) for name, column in named.items()})
        report = Report([DataDriftPreset(columns=list(named), method=METHOD, per_column_threshold=limits)])
        run = report.run(Dataset.from_pandas(now, definition), Dataset.from_pandas(before, definition))
        run.save_html(str(path))


def safe_names(columns: Sequence[Column]) -> list[str]:
    """Return each column's name without characters that mean something in HTML; numbered if two would be the same."""
    names = [label(column.name, NAME) for column in columns]
    return names if len({*names}) == len(names) else [f"{index:02} {name}" for index, name in enumerate(names)]


def as_rows(shares: list[float], labels: list[str]) -> list[str]:
    """Return `HTML_ROWS` labels of bins in these shares, as exactly as that number of rows allows."""
    ends = np.rint(np.cumsum(shares) / max(sum(shares), 1e-12) * HTML_ROWS).astype(int)
    ordered = [f"{index:02} {label(name, NAME)}" for index, name in enumerate(labels)]
    return np.repeat(ordered, np.diff(ends, prepend=0)).tolist()
