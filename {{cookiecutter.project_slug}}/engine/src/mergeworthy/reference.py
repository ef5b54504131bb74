"""The reference: what the champion has learned from, as counts, thresholds and performance, for the drift check."""

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
from . import holdout as label
from .config.gates import Bootstrap, Distance, Drift
from .files import Record
from .paths import DRIFT_REFERENCE
from .project import registered
from .stats import FEWEST, TOLD, Difference, draw, jensen_shannon

# DOC reference.bins: The bins in which a column is counted: tenths of the reference for numbers, its common values
# for categories.

TENTHS = np.linspace(0.1, 0.9, 9)
COMMON, KNOWN = 30, 10_000  # values with a bin of their own, values remembered
SAMPLE = 200_000  # rows that the tenths are told from; what lies in each is counted on all rows
Kinds = Mapping[str, Literal["number", "category"]]


class Bins(Record):
    """How one column is cut; there is a bin for what is missing, and of categories for rare and for new values."""

    kind: Literal["number", "category"]
    edges: list[float] = Field(default_factory=list, description="inner edges, each the highest value of its bin")
    values: list[str] = Field(default_factory=list, description="common values, most frequent first")
    rare: list[str] = Field(default_factory=list, description="other values seen more than once")
    once: list[str] = Field(default_factory=list, description="values seen once")
    open: Annotated[bool, Field(description="has more values than are remembered: none of them is new")] = False

    @property
    def labels(self) -> list[str]:
        """What the bins are called, in their order; the first is what is missing."""
        if self.kind == "category":
            return ["(missing)", *self.values, "(rare)", "(new)"]
        if not self.edges:
            return ["(missing)", "(any)"]
        told = [f"{edge:.4g}" for edge in self.edges]
        between = [f"{low} … {high}" for low, high in pairwise(told)]
        return ["(missing)", f"≤ {told[0]}", *between, f"> {told[-1]}"]

    def code(self, name: str, *, own: bool = False) -> pl.Expr:
        """Give the place of each row's bin in `labels`; `own` rows are those that the bins were learned from.

        An own row that is alone with its value is new to all others: the share of those is what may be expected of
        values never seen (Good 1953).
        """
        column = pl.col(name)
        if self.kind == "number":
            number = column.cast(pl.Float64)
            place = pl.lit(pl.Series(self.edges, dtype=pl.Float64)).search_sorted(number, side="left") + 1
            return pl.when(number.is_null() | number.is_nan()).then(0).otherwise(place).cast(pl.Int64).alias(name)
        seen = [] if self.open else [*self.rare, *([] if own else self.once)]
        places = {value: place for place, value in enumerate([*self.values, *seen], 1)}
        last = len(self.values) + 1
        other = last if self.open else last + 1
        found = column.cast(pl.String).replace_strict(places, default=other, return_dtype=pl.Int64)
        found = pl.when(found > other).then(last).when(column.is_null()).then(0).otherwise(found)
        return found.alias(name)


def learn(rows: pl.LazyFrame, kinds: Kinds) -> dict[str, Bins]:
    """Choose bins for the columns of `kinds` from all rows of the reference."""
    total = rows.select(pl.len()).collect().item()
    step = max(1, total // SAMPLE)
    sampled = rows.select(*kinds).with_row_index("_row").filter(pl.col("_row") % step == 0).collect(engine="streaming")
    return {
        name: _numbers(sampled[name]) if kind == "number" else _categories(rows, name) for name, kind in kinds.items()
    }


def _numbers(sample: pl.Series) -> Bins:
    values = sample.cast(pl.Float64).drop_nulls().drop_nans().to_numpy()
    edges = np.unique(np.quantile(values, TENTHS, method="inverted_cdf")) if len(values) else np.array([])
    return Bins(kind="number", edges=edges.tolist())


def _categories(rows: pl.LazyFrame, name: str) -> Bins:
    counted = rows.select(pl.col(name).cast(pl.String)).drop_nulls().group_by(name).len()
    found = counted.sort("len", name, descending=[True, False]).head(KNOWN + 1).collect(engine="streaming")
    often = found.filter(pl.col("len") > 1)[name].to_list()
    once = found.filter(pl.col("len") == 1)[name].to_list()
    if found.height > KNOWN:
        return Bins(kind="category", values=often[:COMMON], open=True)
    return Bins(kind="category", values=often[:COMMON], rare=sorted(often[COMMON:]), once=once)


# DOC reference.counts: Counting: rows come in batches and leave as counts per block (day) and bin, so that memory is
# flat in rows. Whatever is asked later (a window, a reference without it, a resample of days) is a sum of blocks.

BATCH = 250_000  # rows
Ints = NDArray[np.int64]


@dataclass
class Counts:
    """Names of blocks, in their order, and for each column counts of shape (blocks, bins)."""

    blocks: list[str] = field(default_factory=list)
    columns: dict[str, Ints] = field(default_factory=dict)

    @property
    def rows(self) -> Ints:
        """Rows of each block, shape (blocks,)."""
        total: Ints = next(iter(self.columns.values())).sum(axis=1)
        return total

    def total(self, chosen: slice = slice(None)) -> dict[str, Ints]:
        """Sum over some of the blocks: each of shape (bins,)."""
        return {name: counts[chosen].sum(axis=0) for name, counts in self.columns.items()}


def batches(rows: pl.LazyFrame, columns: Iterable[str]) -> Iterator[pl.DataFrame]:
    """Read only what is needed, piece by piece."""
    yield from rows.select(list(dict.fromkeys(columns))).collect_batches(chunk_size=BATCH, maintain_order=False)


def count(parts: Iterable[pl.DataFrame], bins: Mapping[str, Bins], block: str, *, own: bool = False) -> Counts:
    """Count the rows of every part; `block` is the column that says which rows belong together, `own` as in `Bins`."""
    found: dict[Any, dict[str, Ints]] = {}
    for part in parts:
        part = part.drop_nulls(block)
        here = part[block].unique().sort()
        place = part[block].rank("dense").cast(pl.Int64) - 1
        codes = part.select(cut.code(name, own=own) for name, cut in bins.items())
        for name, cut in bins.items():
            width = len(cut.labels)
            counted = np.bincount((place * width + codes[name]).to_numpy(), minlength=len(here) * width)
            for one, row in zip(here, counted.reshape(-1, width), strict=True):
                held = found.setdefault(one, {})
                held[name] = held[name] + row if name in held else row
    blocks = sorted(found)
    empty: dict[str, Any] = {name: np.zeros((0, len(cut.labels)), np.int64) for name, cut in bins.items()}
    return Counts(
        [str(one) for one in blocks],
        {name: np.stack([found[one][name] for one in blocks]) for name in bins} if blocks else empty,
    )


# DOC reference.performance: What a champion is worth on rows whose label is known, and how sure that is: whole days
# are resampled.

Labelled = pl.DataFrame  # of rows whose label is known:
LABELLED = {"block": pl.String, "label": pl.Boolean, "score": pl.Float32}


class Figure(Record):
    """A metric's value, and its standard error where enough days tell it."""

    value: float
    error: Annotated[float, Field(ge=0)] = 0.0
    blocks: Annotated[int, Field(description="days that were resampled whole")]


def measure(rows: Labelled, metrics: Iterable[str], settings: Bootstrap) -> dict[str, Figure]:
    """Measure each metric that can be told: on ten blocks at least, and on nine resamples of ten."""
    block = rows["block"].rank("dense").cast(pl.Int64).to_numpy() - 1
    blocks = int(block.max() + 1) if len(block) else 0
    if blocks < FEWEST:
        return {}
    label, score = rows["label"].to_numpy().astype(bool), rows["score"].cast(pl.Float64).to_numpy()
    weights, found = draw(blocks, settings.resamples, settings.seed), {}
    for name in metrics:
        values = registered().all_metrics[name].prepare(label, score, block)(weights)
        resampled = values[1:][np.isfinite(values[1:])]
        if np.isfinite(values[0]) and len(resampled) >= TOLD * settings.resamples:
            error = resampled.std(ddof=1) * math.sqrt(blocks / (blocks - 1))
            found[name] = Figure(value=float(values[0]), error=float(error), blocks=blocks)
    return found


def plain(rows: Labelled, metrics: Iterable[str]) -> dict[str, Figure]:
    """Measure without an error: what a line over time is drawn from."""
    label, score = rows["label"].to_numpy().astype(bool), rows["score"].cast(pl.Float64).to_numpy()
    values = {name: registered().all_metrics[name](label, score) for name in metrics}
    blocks = rows["block"].n_unique()
    return {name: Figure(value=value, blocks=blocks) for name, value in values.items() if math.isfinite(value)}


def worse(metric: str, holdout: Figure, now: Figure) -> Difference:
    """By how much `now` is worse than the holdout; the two are of different days, so their errors add up."""
    sign = -1 if registered().all_metrics[metric].greater_is_better else 1
    error = math.hypot(holdout.error, now.error)
    blocks = min(holdout.blocks, now.blocks)
    return Difference(holdout.value, now.value, sign * (now.value - holdout.value), error, blocks)


# DOC reference.calibrate: How far windows of the champion's own history lie from the rest of it: what is usual is no
# drift. Windows are runs of whole blocks (days), for what rows of a day share is no evidence; as many in a row as
# must agree are compared with the reference without them. A threshold holds for a family of columns together: what is
# exceeded by chance is the largest of their distances, each the least of its windows, in units of its own spread (the
# max-T of Westfall & Young 1993). A history has few windows that do not overlap, so chance may make them look alike.
# Hence no threshold is below that of windows whose rows are drawn independently from the history's distribution (the
# parametric bootstrap of Efron 1979).

Floats = NDArray[np.float64]
SMALLEST, STEP, LARGEST_SHARE = 250, 4, 2  # rows of a window; all in a row are at most half of the history


def sizes(rows: int) -> list[int]:
    """Rows of the windows that are calibrated: each four times the one before."""
    found = [SMALLEST]
    while found[-1] * STEP <= rows // LARGEST_SHARE:
        found.append(found[-1] * STEP)
    return found


def thresholds(
    counts: Counts, families: Mapping[str, list[str]], policy: Distance, persistence: int
) -> dict[str, list[float]]:
    """Give for each column the distance that some of so many windows of each of `sizes` in a row stay within."""
    rng, apart = np.random.default_rng(policy.seed), np.random.default_rng([policy.seed, 1])
    found: dict[str, list[float]] = {name: [] for family in families.values() for name in family}
    total = int(counts.rows.sum())
    for rows in sizes(total):
        chosen = _windows(counts.rows, rows, (policy.draws, persistence), rng)
        for family in families.values():
            seen = np.stack([_distances(counts.columns[name], chosen, rows, rng) for name in family], axis=-1)
            shape = chosen.shape[:2]
            drawn = np.stack([_drawn(counts.columns[name], rows, shape, apart) for name in family], axis=-1)
            limits = np.maximum(_limits(seen, policy), _limits(drawn, policy))
            for name, limit in zip(family, limits, strict=True):
                found[name].append(round(float(limit), 6))
    return found


def limit(limits: list[float], rows: int, window: int) -> float:
    """Give the threshold for a window of so many rows, between the sizes that were calibrated for `rows` of history.

    By chance alone distances fall with the root of the rows, a straight line in logarithms.
    """
    return float(np.exp(np.interp(np.log(max(window, 1)), np.log(sizes(rows)), np.log(limits))))


def _windows(rows: Ints, wanted: int, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose windows in a row that hold about `wanted` rows each, shape (draws, windows, blocks)."""
    draws, windows = shape
    length = min(max(1, round(wanted / rows.mean())), max(1, len(rows) // (windows * LARGEST_SHARE)))
    first = rng.integers(0, max(1, len(rows) - windows * length + 1), (draws, 1, 1))
    starts = first + np.arange(windows)[:, None] * length
    place = np.arange(len(rows))
    chosen: NDArray[np.bool_] = (place >= starts) & (place < starts + length)
    return chosen


def _distances(counts: Ints, chosen: NDArray[np.bool_], wanted: int, rng: np.random.Generator) -> Floats:
    """Distance of each window, thinned to `wanted` rows, from all other blocks; shape (draws, windows)."""
    inside = chosen @ counts
    outside = counts.sum(axis=0) - inside.sum(axis=1, keepdims=True)
    many = inside.sum(axis=-1) > wanted
    inside[many] = _thinned(inside[many], wanted, rng)
    return np.nan_to_num(jensen_shannon(inside, outside))


def _thinned(counts: Ints, wanted: int, rng: np.random.Generator) -> Ints:
    """Draw so many rows without replacement from each line of counts, shape (lines, bins), bin by bin."""
    left, rest = np.full(len(counts), wanted), counts.sum(axis=1)
    taken = np.empty_like(counts)
    for place, here in enumerate(counts.T):
        rest -= here
        taken[:, place] = rng.hypergeometric(here, rest, left)
        left -= taken[:, place]
    return taken


def _drawn(counts: Ints, rows: int, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Distance of windows and a reference of independent rows from one and the same distribution, as `_distances`."""
    total = counts.sum(axis=0)
    shares = total / total.sum()
    reference = rng.multinomial(int(total.sum()), shares, (shape[0], 1))
    return jensen_shannon(rng.multinomial(rows, shares, shape), reference)


def _limits(seen: Floats, policy: Distance) -> Floats:
    """From distances, shape (draws, windows, columns), to one limit a column, none below the floor."""
    centre, spread = seen.mean(axis=(0, 1)), np.maximum(seen.std(axis=(0, 1)), 1e-9)
    worst = ((seen - centre) / spread).min(axis=1).max(axis=1)  # what a rule asks: all windows, any column
    beyond = np.quantile(worst, 1 - policy.level, method="weibull")  # what one draw more exceeds in that share
    limits: Floats = np.maximum(centre + beyond * spread, policy.floor)
    return limits


# DOC reference.record: What the champion has learned from, in a few kilobytes beside it: `models/drift.json`. Made
# when a champion is made, from its own history, so that a check needs neither the data nor the features of then.

SCORE = "(score)"  # the prediction, as one more column


class Reference(files.Record):
    """The history of one model: its columns in bins, what is usual among them, and what it was worth on its holdout."""

    version: Literal[2] = 2
    model: Annotated[str, Field(description="MD5 of the model that this belongs to")]
    partitions: Annotated[list[str], Field(description="oldest first; the newest is the holdout")]
    rows: int
    first: Annotated[str, Field(description="oldest block (day)")]
    last: Annotated[str, Field(description="newest block (day)")]
    bins: dict[str, Bins]
    counts: Annotated[dict[str, list[int]], Field(description="rows in each bin")]
    thresholds: Annotated[dict[str, list[float]], Field(description="of windows of 250 rows, 1,000, 4,000 …")]
    holdout: Annotated[dict[str, Figure], Field(description="labelled performance, metric by metric")]

    def limit(self, column: str, rows: int) -> float:
        """Give the distance that a window of so many rows is usually within."""
        return limit(self.thresholds[column], self.rows, rows)


def inputs(session: InferenceSession) -> Kinds:
    """The columns that a model reads, and their kinds."""
    return {one.name: "category" if one.type == "tensor(string)" else "number" for one in session.get_inputs()}


def scored(rows: pl.LazyFrame, session: InferenceSession) -> Iterator[pl.DataFrame]:
    """Give all rows batch by batch, with the model's prediction as one more column."""
    for part in rows.collect_batches(chunk_size=BATCH):
        yield part.with_columns(pl.Series(SCORE, artifact.predict(session, part)))


def make(
    history: dict[str, pl.LazyFrame], session: InferenceSession, model: str, settings: Bootstrap, policy: Drift
) -> Reference:
    """Look at `history`: partition → feature rows, oldest first, the newest the holdout. `model` is the model's MD5."""
    kinds = inputs(session)
    needed = [*kinds, settings.block, registered().target]
    rows = pl.concat([part.select(needed) for part in history.values()])
    *_, newest = history.values()
    holdout = pl.concat(list(scored(newest.select(needed), session)))
    bins = learn(rows, kinds) | learn(holdout.lazy(), {SCORE: "number"})
    counts = count(scored(rows, session), bins, settings.block, own=True)
    return summarise(list(history), model, counts, bins, labelled(holdout, settings.block), settings, policy)


def summarise(
    partitions: list[str],
    model: str,
    counts: Counts,
    bins: dict[str, Bins],
    holdout: Labelled,
    settings: Bootstrap,
    policy: Drift,
) -> Reference:
    """Calibrate on the counts of the history, and measure on the holdout."""
    families = {"inputs": [name for name in bins if name != SCORE], "score": [SCORE]}
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


def labelled(rows: pl.DataFrame, block: str) -> pl.DataFrame:
    """Keep what performance is told from: block, label and score of the rows whose label is known."""
    label.check_label(rows.lazy(), "the feature rows")
    known = rows.filter(pl.col(registered().target).is_not_null())
    return known.select(
        pl.col(block).cast(pl.String).alias("block"),
        pl.col(registered().target).alias("label"),
        pl.col(SCORE).alias("score"),
    )


def read(path: Path = DRIFT_REFERENCE) -> Reference:
    """Read the reference; raise `UserError` where there is none, or it cannot be understood."""
    return files.read_record(path, Reference, "a reference", f"`dvc pull --force {path}`, or `make pipeline`")
