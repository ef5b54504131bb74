"""What a reviewer reads about each task: the README's table of tasks, and a whole report with scores of any shape."""

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from numpy.typing import NDArray
from tests.engine import reported
from tests.engine.markdown_tables import tables
from tests.engine.product import ROOT
from tests.engine.registration import with_task

from mergeworthy import Binary, MultiClass, Regression, project
from mergeworthy.files import CHAMPION, METRICS, PREDICTIONS
from mergeworthy.tasks.base import Task
from mergeworthy.verdict import Comparison

Floats = NDArray[np.float64]
CLASSES = tuple("abcdefghijk")
TASKS: dict[str, Task] = {
    "Binary": Binary("late", lambda _: pl.col("late")),
    "MultiClass": MultiClass("kind", lambda _: pl.col("kind"), CLASSES),
    "Regression": Regression("demand", lambda _: pl.col("demand"), "bikes an hour", (0.1, 0.9)),
}
ROWS = 500


@pytest.mark.parametrize("name", TASKS)
def test_the_readme_names_metrics_guess_and_what_is_watched(name: str) -> None:
    task = TASKS[name]
    (row,) = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| `{name}` |")]
    _, _, _, metrics, guess, watched, _ = row.split("|")
    assert set(re.findall(r"`(\w+)`", metrics)) == {*task.metrics}
    assert guess.strip() == task.guess_words
    assert set(re.findall(r"`([^`]+)`", watched)) == {*task.watched}


def predictions(task: Task) -> tuple[pl.Series, Floats, Floats]:
    """Return targets as a column, and scores of a model and of a worse one."""
    rng = np.random.default_rng(3)
    if isinstance(task, MultiClass):
        number = rng.integers(0, len(CLASSES), ROWS)
        logits = 3 * np.eye(len(CLASSES))[number] + rng.normal(size=(ROWS, len(CLASSES)))
        score, worse = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (logits, logits / 2))
        return pl.Series(task.target, [CLASSES[each] for each in number]), score, worse
    number = rng.gamma(2, 2_000, ROWS)
    target = number * rng.lognormal(0, 0.3, ROWS)
    if isinstance(task, Binary):
        late = target > np.median(target)
        chance = np.clip(number / 8_000, 0.01, 0.99)
        return pl.Series(task.target, late), chance, (chance + 0.5) / 2
    score = np.stack([number, 0.7 * number, 1.5 * number], axis=1)
    return pl.Series(task.target, target), score, 1.1 * score


@pytest.mark.parametrize("name", TASKS)
def test_the_report_of_every_task_is_whole(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = TASKS[name]
    with with_task(task):
        # given a model and its champion, judged by the task's first metric
        column, score, worse = predictions(task)
        written = reported.make_project(tmp_path / "checkout")
        monkeypatch.chdir(written.root)
        judge(written, task, column, score, worse)
        text = reported.write_report()
        target = task.targets(column)
        rates, plots = task.rates(target, score, worse, 0.5), task.plots(target, score, worse)
    # then no section is missing, and every metric and every chart is there
    assert "Not available" not in text
    (metrics,) = [rows for rows in tables(text) if "Metric" in rows[0]]
    assert {row["Metric"].split()[0] for row in metrics} == {*task.metrics}
    assert not [row for row in metrics if row["Champion"] == "–"]
    assert text.count("```mermaid") == sum(plot.comment for plot in plots) + 1  # and the training
    assert rates
    assert rates.caption in text


def judge(written: reported.Project, task: Task, column: pl.Series, score: Floats, worse: Floats) -> None:
    """Write gates and a verdict about the task's first metric."""
    first = next(iter(task.metrics))
    gates = yaml.safe_load(Path("gates.yaml").read_text())
    gates |= {"floors": {first: {"max": 1e9}}, "beats_baseline": [first]}
    gates["champion"]["margins"] = gates["anchor"]["margins"] = {first: "5%"}
    gates["slices"]["metric"] = first
    del gates["plausibility"], gates["drift"]["performance"]["margins"]
    written.write("gates.yaml", gates)
    write(task, column, score, worse)
    figure = json.loads(METRICS.read_text())["model"][first]
    compared = Comparison(
        rows=ROWS, blocks=20, metric=first, champion=1, challenger=figure, worse_by=0, low=0, high=0, margin=1
    )
    written.judge(reported.checks(), [compared], written.champion)


def write(task: Task, column: pl.Series, score: Floats, champion: Floats) -> None:
    """Write the predictions of both models, and what evaluation measured."""
    keys = {name: np.arange(ROWS) for name in project.registered().key}
    scores, before = (pl.Series("score", each.astype(np.float32), dtype=task.score_type) for each in (score, champion))
    pl.DataFrame({**keys, task.target: column}).with_columns(scores).write_parquet(PREDICTIONS)
    pl.DataFrame(keys).with_columns(before).write_parquet(CHAMPION)
    target = task.targets(column)
    figures = {name: float(metric(target, score)) for name, metric in task.metrics.items()}
    measured = {"partition": "2013-06", "rows": ROWS, "model": figures, "baseline": dict.fromkeys(figures, 0.5)}
    METRICS.write_text(json.dumps(measured))
