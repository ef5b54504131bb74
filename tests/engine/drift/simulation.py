"""Worlds in which it is known whether anything changed: a history, and weeks that are drawn from it, or are not."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from mergeworthy.config.gates import Bootstrap, Drift, Window
from mergeworthy.drift.decision import Decision, decide
from mergeworthy.reference import LABELLED_SCHEMA, SCORE, Counts, Reference, count, learn, summarise

DAYS, WEEK = 84, 7  # of history, of a window
SETTINGS = Bootstrap(block="day", resamples=200)
Shift = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True)
class World:
    """Tables of `numbers` and `categories`, a week of which has `rows`; the categories' tail is rare."""

    rows: int
    numbers: int = 5
    categories: int = 3
    values: int = 8
    seed: int = 0
    policy: Drift = field(default_factory=lambda: Drift(window=Window(minimum_rows=100), label_delay=0))

    def draw(self, days: int, rng: np.random.Generator, first: int = 0) -> pl.DataFrame:
        """Rows of so many days from one and the same distribution, scored by a model that is right about them."""
        rows = days * self.rows // WEEK
        columns = {f"n{i}": rng.normal(size=rows) if i % 2 else rng.lognormal(size=rows) for i in range(self.numbers)}
        shares = 1 / np.arange(1, self.values + 1) ** 1.5
        shares = np.concatenate([[0.1], 0.9 * shares / shares.sum()])
        names = np.array([f"v{i}" for i in range(len(shares))])
        columns |= {f"c{i}": rng.choice(names, rows, p=shares) for i in range(self.categories)}
        columns["n1"] = rng.normal(size=rows)
        score = 1 / (1 + np.exp(1 - columns["n1"]))
        day = np.arange(rows) * days // rows + first
        told = {"day": day, SCORE: score.astype(np.float32), "label": rng.random(rows) < score}
        return pl.DataFrame(columns | told).with_columns(pl.col("day").cast(pl.String).str.zfill(5))

    def reference(self) -> Reference:
        """What a champion of this world would leave."""
        history = self.draw(DAYS, np.random.default_rng(self.seed))
        kinds = {name: "category" if name[0] == "c" else "number" for name in history.columns if name[0] in "cn"}
        bins = learn(history.lazy(), kinds | {SCORE: "number"})
        holdout = told(history.filter(pl.col("day") >= f"{DAYS * 2 // 3:05}"))
        return summarise(
            ["0"], "", count([history], bins, "day", of_reference=True), bins, holdout, SETTINGS, self.policy
        )

    def check(self, reference: Reference, weeks: list[pl.DataFrame], *, labels: bool) -> Decision:
        """Decide on weeks; without labels they have not arrived yet."""
        rows = pl.concat(weeks)
        counts: Counts = count([rows], reference.bins, "day")
        return decide(reference, counts, told(rows) if labels else told(rows.clear()), SETTINGS, self.policy)

    def alarms(self, weeks: int = 52) -> int:
        """How often a rule fires in a year in which nothing happens, checked every week with all the labels."""
        reference, rng, seen, found = self.reference(), np.random.default_rng(self.seed + 1000), [], 0
        for week in range(weeks):
            seen = [*seen[-3:], self.draw(WEEK, rng, week * WEEK)]
            found += bool(self.check(reference, seen, labels=True).fired)
        return found

    def finds(self, shift: Shift, *, labels: bool = False) -> bool:
        """Tell whether a shift is found once two windows have it; a window lasts until it has its least rows."""
        reference, rng = self.reference(), np.random.default_rng(self.seed + 2000)
        needed = self.policy.window.persistence * -(-self.policy.window.minimum_rows // self.rows)
        weeks = [shift(self.draw(WEEK, rng, week * WEEK), rng) for week in range(needed)]
        return self.check(reference, weeks, labels=labels).outcome == "retrain"


def told(rows: pl.DataFrame) -> pl.DataFrame:
    columns = {"block": "day", "label": "label", "score": SCORE}
    return rows.select(pl.col(name).cast(LABELLED_SCHEMA[to]).alias(to) for to, name in columns.items())


def mean(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    return rows.with_columns(n3=pl.col("n3") + 0.25)


def doubled(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    turned = pl.Series(rng.random(rows.height) < 0.1 / 0.9)
    return rows.with_columns(c0=pl.when(turned).then(pl.lit("v0")).otherwise("c0"))


def new(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    turned = pl.Series(rng.random(rows.height) < 0.05)
    return rows.with_columns(c0=pl.when(turned).then(pl.lit("never seen")).otherwise("c0"))


def labels(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """A quarter of the labels no longer follows the inputs: nothing but performance can see it."""
    turned = pl.Series(rng.random(rows.height) < 0.25)
    shuffled = pl.Series(rng.permutation(rows["label"].to_numpy()))
    return rows.with_columns(label=pl.when(turned).then(~shuffled).otherwise("label"))


SHIFTS: dict[str, Shift] = {
    "mean of a number +0.25 sd": mean,
    "share of a category doubled": doubled,
    "new category at 5 %": new,
    "labels alone": labels,
}
