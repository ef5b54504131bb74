"""Simulated worlds: a history, and weeks that are drawn from the same distribution or from a shifted one.

What is predicted follows the registered task: yes or no, one of three classes, or a number with two quantiles.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from tests.engine.gate.other_tasks import B, W

from mergeworthy.config.gates import Bootstrap, Drift, Window
from mergeworthy.drift.decision import Decision, decide
from mergeworthy.project import registered
from mergeworthy.reference import SCORE, Counts, Reference, count, labelled_schema, learn, summarise, with_watched
from mergeworthy.stats import Floats
from mergeworthy.tasks.base import Task
from mergeworthy.tasks.multiclass import MultiClass
from mergeworthy.tasks.regression import Regression

TASKS: dict[str, Task] = {
    "classes": MultiClass("label", lambda _: pl.col("label"), classes=("early", "on time", "long")),
    "numbers": Regression("label", lambda _: pl.col("label"), quantiles=(0.1, 0.9)),
}
DAYS, WEEK = 84, 7  # of the history, of a window
SETTINGS = Bootstrap(block="day", resamples=200)
Shift = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


@dataclass(frozen=True)
class World:
    """Tables with `numbers` and `categories` columns and `rows` a week; the categories have rare values."""

    rows: int
    numbers: int = 5
    categories: int = 3
    values: int = 8
    seed: int = 0
    policy: Drift = field(default_factory=lambda: Drift(window=Window(minimum_rows=100), label_delay=0))

    def draw(self, days: int, rng: np.random.Generator, first: int = 0) -> pl.DataFrame:
        """Return rows of `days` days from one distribution, with the scores of a model that predicts them correctly."""
        rows = days * self.rows // WEEK
        columns = {f"n{i}": rng.normal(size=rows) if i % 2 else rng.lognormal(size=rows) for i in range(self.numbers)}
        shares = 1 / np.arange(1, self.values + 1) ** 1.5
        shares = np.concatenate([[0.1], 0.9 * shares / shares.sum()])
        names = np.array([f"v{i}" for i in range(len(shares))])
        columns |= {f"c{i}": rng.choice(names, rows, p=shares) for i in range(self.categories)}
        columns["n1"] = rng.normal(size=rows)
        score, label = predicted(columns["n1"], rng)
        day = np.arange(rows) * days // rows + first
        scores = pl.Series(score.astype(np.float32), dtype=registered().task.score_type)
        table = pl.DataFrame(columns | {"day": day, SCORE: scores, "label": label})
        return with_watched(table.with_columns(pl.col("day").cast(pl.String).str.zfill(5)))

    def reference(self) -> Reference:
        """Return the reference of a champion of this world."""
        history = self.draw(DAYS, np.random.default_rng(self.seed))
        kinds = {name: "category" if name[0] == "c" else "number" for name in history.columns if name[0] in "cn"}
        bins = learn(history.lazy(), kinds | dict(registered().task.watched))
        holdout = labelled(history.filter(pl.col("day") >= f"{DAYS * 2 // 3:05}"))
        counts = count([history], bins, "day", of_reference=True)
        return summarise(["0"], "", counts, bins, holdout, SETTINGS, self.policy)

    def check(self, reference: Reference, weeks: list[pl.DataFrame], *, labels: bool) -> Decision:
        """Return the decision on these weeks; without `labels` the labels have not arrived yet."""
        rows = pl.concat(weeks)
        counts: Counts = count([rows], reference.bins, "day")
        return decide(reference, counts, labelled(rows if labels else rows.clear()), SETTINGS, self.policy)

    def alarms(self, weeks: int = 52) -> int:
        """Return how many weekly checks of a year without a shift have a rule that fires; all labels are known."""
        reference, rng = self.reference(), np.random.default_rng(self.seed + 1000)
        recent: list[pl.DataFrame] = []
        alarms = 0
        for week in range(weeks):
            recent = [*recent[-3:], self.draw(WEEK, rng, week * WEEK)]
            alarms += bool(self.check(reference, recent, labels=True).fired)
        return alarms

    def finds(self, shift: Shift, *, labels: bool = False) -> bool:
        """Return True if a shift is found within two windows; a window lasts until it has its minimum of rows."""
        reference, rng = self.reference(), np.random.default_rng(self.seed + 2000)
        needed = self.policy.window.persistence * -(-self.policy.window.minimum_rows // self.rows)
        weeks = [shift(self.draw(WEEK, rng, week * WEEK), rng) for week in range(needed)]
        return self.check(reference, weeks, labels=labels).outcome == "retrain"


def predicted(cause: Floats, rng: np.random.Generator) -> tuple[Floats, pl.Series]:
    """Return the scores of a model that knows all that can be known, and the labels of N rows."""
    task = registered().task
    if isinstance(task, MultiClass):
        odds = np.exp(np.outer(cause, W) + B)
        shares = odds / odds.sum(axis=1, keepdims=True)
        number = (np.log(odds) + rng.gumbel(size=odds.shape)).argmax(axis=1)
        return shares, pl.Series(np.array(task.classes, object)[number], dtype=pl.String)
    if isinstance(task, Regression):
        score = (30 + 20 * cause)[:, None] + np.array([0, -12.8, 12.8])
        return score, pl.Series(30 + 20 * cause + rng.normal(scale=10, size=len(cause)))
    score = 1 / (1 + np.exp(1 - cause))
    return score, pl.Series(rng.random(len(cause)) < score)


def labelled(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the columns of `labelled_schema`."""
    sources = {"block": "day", "label": "label", "score": SCORE}
    return rows.select(pl.col(name).cast(labelled_schema()[to]).alias(to) for to, name in sources.items())


def shift_mean(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    return rows.with_columns(n3=pl.col("n3") + 0.25)


def double_category(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    replaced = pl.Series(rng.random(rows.height) < 0.1 / 0.9)
    return rows.with_columns(c0=pl.when(replaced).then(pl.lit("v0")).otherwise("c0"))


def add_category(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    replaced = pl.Series(rng.random(rows.height) < 0.05)
    return rows.with_columns(c0=pl.when(replaced).then(pl.lit("never seen")).otherwise("c0"))


def change_labels(rows: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Replace a quarter of the labels by ones that do not follow the inputs: only performance shows that."""
    replaced = pl.Series(rng.random(rows.height) < 0.25)
    shuffled = rows["label"].gather(rng.permutation(rows.height))
    other = ~shuffled if shuffled.dtype == pl.Boolean else shuffled
    return rows.with_columns(label=pl.when(replaced).then(other).otherwise("label"))


SHIFTS: dict[str, Shift] = {
    "mean of a number +0.25 sd": shift_mean,
    "share of a category doubled": double_category,
    "new category at 5 %": add_category,
    "labels alone": change_labels,
}
