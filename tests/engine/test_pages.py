"""What the pages of a project say of the engine is true."""

import re

import numpy as np
import polars as pl
from tests.engine.product import PRODUCT

from mergeworthy import Binary, Metric, MultiClass, Regression

PAGE = (PRODUCT / "docs/data-scientist.md").read_text()


def test_the_metric_of_the_page_can_be_registered() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, dict[str, Metric]] = {}
    exec(code, names)  # noqa: S102 - our own page
    label, score = np.array([True, True, False, True]), np.array([0.9, 0.2, 0.1, 0.6])
    assert names["METRICS"]["missed_at_half"](label, score) == 1 / 3


def test_the_metrics_of_the_tasks_are_those_on_the_page() -> None:
    def label(_: object) -> pl.Expr:
        return pl.col("target")

    rows = [re.findall(r"`([a-z0-9_]+)`", line.rsplit("|", 2)[-2]) for line in PAGE.splitlines() if "(N," in line]
    binary, classes, number, quantiles = rows
    assert binary == [*Binary("target", label).metrics]
    assert classes == [*MultiClass("target", label, classes=("a", "b")).metrics]
    assert number == [*Regression("target", label).metrics]
    assert number + quantiles == [*Regression("target", label, quantiles=(0.1, 0.9)).metrics]
