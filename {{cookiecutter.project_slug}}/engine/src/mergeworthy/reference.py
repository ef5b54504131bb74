"""The reference: what the champion has learned from, in a few kilobytes beside it (`models/drift.json`).

It is written when a champion is trained, from the champion's own history, so a drift check needs neither that data nor
its features. It holds, column by column:

- bins: tenths of the history for numbers, the common values for categories;
- counts of rows in each bin. Rows come in batches and are counted per block (day), so memory does not grow with rows:
  a window, a history without it and a resample of days are all sums of blocks;
- thresholds: how far windows of the history lie from the rest of it. What is usual is no drift.

Beside the columns it holds the labelled performance on the holdout, with standard errors from resampling whole days.

Thresholds. Rows of one day are correlated, so windows are runs of whole days, and `persistence` consecutive windows are
compared with the history without them. A threshold holds for a family of columns together: by chance alone, what a rule
tests (the largest distance of any column, each the least of its windows, in units of the column's own spread) exceeds
it with probability `level` (max-T; Westfall & Young 1993). A history has few windows that do not overlap, so chance may
make them look alike. Hence no threshold is below that of windows whose rows are drawn independently from the history's
distribution (parametric bootstrap; Efron 1979).
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from pydantic import Field

from . import artifact, files
from .config.gates import Bootstrap, Distance, Drift
from .files import DRIFT_REFERENCE, Record
from .holdout import check_label
from .project import registered
from .stats import MIN_BLOCKS, MIN_VALID_SHARE, Difference, Targets, draw, jensen_shannon, merged

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Kinds = Mapping[str, Literal["number", "category"]]

BATCH = 250_000  # rows that are read at once
SCORE = "(scores)"  # the column of predictions, beside what the task watches of them
PARTITION = "(partition)"  # the column of blocks if gates.yaml names none

TENTHS = np.linspace(0.1, 0.9, 9)
SAMPLE_ROWS = 200_000  # from which the tenths are estimated; the rows of each bin are counted on all rows
COMMON_VALUES = 30  # categories with a bin of their own
MAX_VALUES = 10_000  # categories that are stored

SMALLEST_WINDOW, WINDOW_GROWTH = 250, 4  # rows of the smallest calibrated window, and the factor to the next size
MIN_HISTORY_RATIO = 2  # the history is at least this many times as long as all windows that must agree

Labelled = pl.DataFrame  # rows whose label is known, with the columns of `labelled_schema`


class Bins(Record):
    """How one column is cut: a bin for missing values, and for categories one for rare and one for new values."""

    kind: Literal["number", "category"]
    edges: list[float] = Field(default_factory=list, description="inner edges, each the highest value of its bin")
    values: list[str] = Field(default_factory=list, description="common values, most frequent first")
    rare: list[str] = Field(default_factory=list, description="other values seen more than once")
    once: list[str] = Field(default_factory=list, description="values seen once")
    open: Annotated[bool, Field(description="there are too many values to store: no value counts as new")] = False

    @property
    def labels(self) -> list[str]:
        """Return the names of the bins, in their order; the first is for missing values."""
        if self.kind == "category":
            return ["(missing)", *self.values, "(rare)", "(new)"]
        if not self.edges:
            return ["(missing)", "(any)"]
        edges = [f"{edge:.4g}" for edge in self.edges]
        between = [f"{low} … {high}" for low, high in pairwise(edges)]
        return ["(missing)", f"≤ {edges[0]}", *between, f"> {edges[-1]}"]

    def code(self, name: str, *, of_reference: bool = False) -> pl.Expr:
        """Return the index in `labels` of each row's bin; `of_reference` if the bins were learned from these rows.

        A value that only one row of the reference has would be new to all other rows, so there it counts as new: the
        share of such rows estimates how many unseen values are to be expected (Good 1953).
        """
        column = pl.col(name)
        if self.kind == "number":
            number = column.cast(pl.Float64)
            index = pl.lit(pl.Series(self.edges, dtype=pl.Float64)).search_sorted(number, side="left") + 1
            return pl.when(number.is_null() | number.is_nan()).then(0).otherwise(index).cast(pl.Int64).alias(name)
        uncommon = [] if self.open else [*self.rare, *([] if of_reference else self.once)]
        rare = len(self.values) + 1
        new = rare if self.open else rare + 1
        indices = {value: index for index, value in enumerate(self.values, 1)} | dict.fromkeys(uncommon, rare)
        index = column.cast(pl.String).replace_strict(indices, default=new, return_dtype=pl.Int64)
        return pl.when(column.is_null()).then(0).otherwise(index).alias(name)


def learn(rows: pl.LazyFrame, kinds: Kinds) -> dict[str, Bins]:
    """Return bins for the columns of `kinds`, chosen from all rows of the reference."""
    total = rows.select(pl.len()).collect().item()
    step = max(1, total // SAMPLE_ROWS)
    sample = rows.select(*kinds).with_row_index("_row").filter(pl.col("_row") % step == 0).collect(engine="streaming")
    return {
        name: _number_bins(sample[name]) if kind == "number" else _category_bins(rows, name)
        for name, kind in kinds.items()
    }


def _number_bins(sample: pl.Series) -> Bins:
    values = sample.cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
    edges = np.unique(np.quantile(values, TENTHS, method="inverted_cdf")) if len(values) else np.array([])
    return Bins(kind="number", edges=edges.tolist())


def _category_bins(rows: pl.LazyFrame, name: str) -> Bins:
    counts = rows.select(pl.col(name).cast(pl.String)).drop_nulls().group_by(name).len()
    values = counts.sort("len", name, descending=[True, False]).head(MAX_VALUES + 1).collect(engine="streaming")
    repeated = values.filter(pl.col("len") > 1)[name].to_list()
    once = values.filter(pl.col("len") == 1)[name].to_list()
    common, rare = repeated[:COMMON_VALUES], sorted(repeated[COMMON_VALUES:])
    if values.height > MAX_VALUES:
        return Bins(kind="category", values=common, open=True)
    return Bins(kind="category", values=common, rare=rare, once=once)


@dataclass
class Counts:
    """Names of blocks, in their order, and for each column counts of shape (blocks, bins)."""

    blocks: list[str] = field(default_factory=list)
    columns: dict[str, Ints] = field(default_factory=dict)

    @property
    def rows(self) -> Ints:
        """Return the rows of each block, shape (blocks,)."""
        total: Ints = next(iter(self.columns.values())).sum(axis=1)
        return total

    def total(self) -> dict[str, Ints]:
        """Return each column's counts over all blocks, shape (bins,)."""
        return {name: counts.sum(axis=0) for name, counts in self.columns.items()}


def batches(rows: pl.LazyFrame, columns: Iterable[str]) -> Iterator[pl.DataFrame]:
    """Yield the rows in batches, with only the columns that are needed."""
    yield from rows.select(list(dict.fromkeys(columns))).collect_batches(chunk_size=BATCH, maintain_order=False)


def count(parts: Iterable[pl.DataFrame], bins: Mapping[str, Bins], block: str, *, of_reference: bool = False) -> Counts:
    """Return the counts of the rows of all parts; `block` is the column of blocks, `of_reference` as in `Bins.code`."""
    by_block: dict[Any, dict[str, Ints]] = {}
    for part in parts:
        part = part.drop_nulls(block)
        names = part[block].unique().sort()
        index = part[block].rank("dense").cast(pl.Int64) - 1
        codes = part.select(cut.code(name, of_reference=of_reference) for name, cut in bins.items())
        for column, cut in bins.items():
            width = len(cut.labels)
            counts = np.bincount((index * width + codes[column]).to_numpy(), minlength=len(names) * width)
            for name, row in zip(names, counts.reshape(-1, width), strict=True):
                totals = by_block.setdefault(name, {})
                totals[column] = totals[column] + row if column in totals else row
    blocks = sorted(by_block)
    empty: dict[str, Any] = {name: np.zeros((0, len(cut.labels)), np.int64) for name, cut in bins.items()}
    return Counts(
        [str(name) for name in blocks],
        {column: np.stack([by_block[name][column] for name in blocks]) for column in bins} if blocks else empty,
    )


class Figure(Record):
    """A metric's value, and its standard error if there are enough blocks to estimate it."""

    value: float
    error: Annotated[float, Field(ge=0)] = 0.0
    blocks: Annotated[int, Field(description="blocks (such as days) that were resampled whole")]


def measure(rows: Labelled, metrics: Iterable[str], settings: Bootstrap) -> dict[str, Figure]:
    """Return each metric with its standard error, except those that have too few blocks or defined resamples."""
    names = np.arange(rows.height) if settings.block is None else rows["block"].to_numpy()
    block = merged(names, settings.seed)
    blocks = int(block.max(initial=-1)) + 1
    if blocks < MIN_BLOCKS:
        return {}
    label, score = _arrays(rows)
    weights = draw(blocks, settings.resamples, settings.seed)
    figures = {}
    for name in metrics:
        values = registered().all_metrics[name].prepare(label, score, block)(weights)
        resampled = values[1:][np.isfinite(values[1:])]
        if np.isfinite(values[0]) and len(resampled) >= MIN_VALID_SHARE * settings.resamples:
            error = resampled.std(ddof=1) * math.sqrt(blocks / (blocks - 1))
            figures[name] = Figure(value=float(values[0]), error=float(error), blocks=blocks)
    return figures


def measure_without_error(rows: Labelled, metrics: Iterable[str]) -> dict[str, Figure]:
    """Return each metric that is defined, without a standard error; for the line over time."""
    label, score = _arrays(rows)
    values = {name: registered().all_metrics[name](label, score) for name in metrics}
    blocks = rows["block"].n_unique()
    return {name: Figure(value=value, blocks=blocks) for name, value in values.items() if math.isfinite(value)}


def _arrays(rows: Labelled) -> tuple[Targets, Floats]:
    return registered().task.targets(rows["label"]), rows["score"].to_numpy().astype(np.float64)


def deterioration(metric: str, holdout: Figure, now: Figure) -> Difference:
    """Return by how much `now` is worse than the holdout; the two are of different days, so their errors add up."""
    sign = -1 if registered().all_metrics[metric].greater_is_better else 1
    error = math.hypot(holdout.error, now.error)
    blocks = min(holdout.blocks, now.blocks)
    return Difference(holdout.value, now.value, sign * (now.value - holdout.value), error, blocks)


def sizes(rows: int) -> list[int]:
    """Return the calibrated window sizes, in rows, of a history of `rows`: each four times the one before."""
    calibrated = [SMALLEST_WINDOW]
    while calibrated[-1] * WINDOW_GROWTH <= rows // MIN_HISTORY_RATIO:
        calibrated.append(calibrated[-1] * WINDOW_GROWTH)
    return calibrated


def thresholds(
    counts: Counts, families: Mapping[str, list[str]], policy: Distance, persistence: int
) -> dict[str, list[float]]:
    """Return, for each column and each of `sizes`, the distance that calls for no alarm.

    By chance alone, `persistence` consecutive windows all exceed it, in any column of the family, with probability
    `policy.level`.
    """
    rng, independent_rng = np.random.default_rng(policy.seed), np.random.default_rng([policy.seed, 1])
    limits: dict[str, list[float]] = {name: [] for family in families.values() for name in family}
    total = int(counts.rows.sum())
    for rows in sizes(total):
        chosen = _windows(counts.rows, rows, (policy.draws, persistence), rng)
        shape = chosen.shape[:2]
        for family in families.values():
            columns = [counts.columns[name] for name in family]
            observed = np.stack([_distances(column, chosen, rows, rng) for column in columns], axis=-1)
            independent = np.stack(
                [_independent_distances(column, rows, shape, independent_rng) for column in columns], axis=-1
            )
            larger = np.maximum(_limits(observed, policy), _limits(independent, policy))
            for name, value in zip(family, larger, strict=True):
                limits[name].append(round(float(value), 6))
    return limits


def limit(limits: list[float], rows: int, window: int) -> float:
    """Return the threshold for a window of `window` rows, interpolated between the `sizes` of a history of `rows`.

    By chance alone distances fall with the root of the rows, a straight line in logarithms.
    """
    return float(np.exp(np.interp(np.log(max(window, 1)), np.log(sizes(rows)), np.log(limits))))


def _windows(rows: Ints, size: int, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw consecutive windows of about `size` rows each: which blocks they hold, shape (draws, windows, blocks)."""
    draws, windows = shape
    length = min(max(1, round(size / rows.mean())), max(1, len(rows) // (windows * MIN_HISTORY_RATIO)))
    first = rng.integers(0, max(1, len(rows) - windows * length + 1), (draws, 1, 1))
    starts = first + np.arange(windows)[:, None] * length
    block = np.arange(len(rows))
    chosen: NDArray[np.bool_] = (block >= starts) & (block < starts + length)
    return chosen


def _distances(counts: Ints, chosen: NDArray[np.bool_], size: int, rng: np.random.Generator) -> Floats:
    """Return the distance of each window, thinned to `size` rows, from all other blocks; shape (draws, windows)."""
    inside = chosen @ counts
    outside = counts.sum(axis=0) - inside.sum(axis=1, keepdims=True)
    larger = inside.sum(axis=-1) > size
    inside[larger] = _thinned(inside[larger], size, rng)
    return np.nan_to_num(jensen_shannon(inside, outside))


def _thinned(counts: Ints, size: int, rng: np.random.Generator) -> Ints:
    """Draw `size` rows without replacement from each line of counts, shape (lines, bins), bin by bin."""
    to_draw, remaining = np.full(len(counts), size), counts.sum(axis=1)
    drawn = np.empty_like(counts)
    for index, in_bin in enumerate(counts.T):
        remaining -= in_bin
        drawn[:, index] = rng.hypergeometric(in_bin, remaining, to_draw)
        to_draw -= drawn[:, index]
    return drawn


def _independent_distances(counts: Ints, rows: int, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return the distances of windows from a history, all rows drawn independently from one distribution."""
    total = counts.sum(axis=0)
    shares = total / total.sum()
    reference = rng.multinomial(int(total.sum()), shares, (shape[0], 1))
    return jensen_shannon(rng.multinomial(rows, shares, shape), reference)


def _limits(distances: Floats, policy: Distance) -> Floats:
    """Return one limit a column from distances, shape (draws, windows, columns); none is below the floor."""
    centre, spread = distances.mean(axis=(0, 1)), np.maximum(distances.std(axis=(0, 1)), 1e-9)
    statistic = ((distances - centre) / spread).min(axis=1).max(axis=1)  # what a rule tests: all windows, any column
    quantile = np.quantile(statistic, 1 - policy.level, method="weibull")  # a further draw exceeds it at rate `level`
    limits: Floats = np.maximum(centre + quantile * spread, policy.floor)
    return limits


class Reference(Record):
    """The history of one model: its columns in bins, their usual distances, and the performance on its holdout."""

    version: Literal[2] = 2
    model: Annotated[str, Field(description="MD5 of the model that this belongs to")]
    partitions: Annotated[list[str], Field(description="oldest first; the newest is the holdout")]
    rows: int
    first: Annotated[str, Field(description="oldest block (such as a day)")]
    last: Annotated[str, Field(description="newest block (such as a day)")]
    bins: dict[str, Bins]
    counts: Annotated[dict[str, list[int]], Field(description="rows in each bin")]
    thresholds: Annotated[dict[str, list[float]], Field(description="of windows of 250 rows, 1,000, 4,000 …")]
    holdout: Annotated[dict[str, Figure], Field(description="labelled performance, metric by metric")]

    def limit(self, column: str, rows: int) -> float:
        """Return the distance up to which a window of `rows` rows is usual."""
        return limit(self.thresholds[column], self.rows, rows)


def read(path: Path = DRIFT_REFERENCE) -> Reference:
    """Return the reference in a file; raise `UserError` if the file is missing or not a reference."""
    return files.read_record(path, Reference, "a reference", f"`dvc pull --force {path}`, or `make pipeline`")


def make(
    history: dict[str, pl.LazyFrame], session: InferenceSession, model: str, settings: Bootstrap, policy: Drift
) -> Reference:
    """Return the reference of a model from its history.

    `history` maps partition to feature rows, oldest first; the newest partition is the holdout. `model` is the model's
    MD5.
    """
    kinds, block = input_kinds(session), block_column(settings)
    parts = [with_partition(part, name).select(*kinds, block, registered().target) for name, part in history.items()]
    rows, holdout = pl.concat(parts), pl.concat(list(scored(parts[-1], session)))
    bins = learn(rows, kinds) | learn(holdout.lazy(), registered().task.watched)
    counts = count(scored(rows, session), bins, block, of_reference=True)
    return summarise(list(history), model, counts, bins, labelled(holdout, block), settings, policy)


def summarise(
    partitions: list[str],
    model: str,
    counts: Counts,
    bins: dict[str, Bins],
    holdout: Labelled,
    settings: Bootstrap,
    policy: Drift,
) -> Reference:
    """Return a reference with thresholds from the counts of the history, and performance from the holdout."""
    watched = registered().task.watched
    families = {"inputs": [name for name in bins if name not in watched], "predictions": list(watched)}
    return Reference(
        model=model,
        partitions=partitions,
        rows=int(counts.rows.sum()),
        first=counts.blocks[0],
        last=counts.blocks[-1],
        bins=bins,
        counts={name: total.tolist() for name, total in counts.total().items()},
        thresholds=thresholds(counts, families, policy.distance, policy.window.persistence),
        holdout=measure(holdout, policy.performance.margins, settings),
    )


def input_kinds(session: InferenceSession) -> Kinds:
    """Return the columns that a model reads, and their kinds."""
    return {column.name: "category" if column.type == "tensor(string)" else "number" for column in session.get_inputs()}


def scored(rows: pl.LazyFrame, session: InferenceSession) -> Iterator[pl.DataFrame]:
    """Yield all rows batch by batch, with the model's scores and what the task watches of them as further columns."""
    for part in rows.collect_batches(chunk_size=BATCH):
        scores = pl.Series(SCORE, artifact.predict(session, part), registered().task.score_type)
        yield with_watched(part.with_columns(scores))


def with_watched(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows that have scores with what the task watches of these as further columns."""
    watched = registered().task.watch(rows[SCORE].to_numpy())
    return rows.with_columns(pl.Series(name, values) for name, values in watched.items())


def block_column(settings: Bootstrap) -> str:
    """Return the column whose values are counted one by one: that of the blocks, or of the partitions if none is."""
    return settings.block or PARTITION


def with_partition(rows: pl.LazyFrame, partition: str) -> pl.LazyFrame:
    """Return the feature rows of a partition with its name as a column."""
    return rows.with_columns(pl.lit(partition).alias(PARTITION))


def labelled_schema() -> dict[str, pl.DataType]:
    """Return the columns of labelled rows."""
    task = registered().task
    return {"block": pl.String(), "label": task.target_type, "score": task.score_type}


def labelled(rows: pl.DataFrame, block: str) -> Labelled:
    """Return block, label and score of the rows whose label is known."""
    check_label(rows.lazy(), "the feature rows")
    known, target = rows.filter(pl.col(registered().target).is_not_null()), pl.col(registered().target)
    columns = {"block": pl.col(block).cast(pl.String), "label": registered().task.cast(target), "score": pl.col(SCORE)}
    return known.select(column.alias(name) for name, column in columns.items())
