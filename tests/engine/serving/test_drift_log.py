"""The drift check on the service's log: requested rows, answered scores, and the labels that have arrived."""

import json
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import yaml
from tests.engine.data.delivered import deliver
from tests.engine.product import PRODUCT
from tests.engine.serving.conftest import Start

from mergeworthy.data.contract import requested
from mergeworthy.data.predictions import read_predictions
from mergeworthy.drift.check import run
from mergeworthy.project import registered
from mergeworthy.stages import reference
from ml.schema import TABLES

SCHEMA = TABLES["flights"]
UNLABELLED = pl.col("sched_dep").dt.day() > 28  # days whose labels have not arrived yet


def request_rows(flights: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as a client sends them."""
    time = pl.col("sched_dep").dt.to_string("%Y-%m-%dT%H:%M:%S")
    return flights.select(*requested(SCHEMA)).with_columns(time).to_dicts()


def test_the_check_uses_requested_rows_and_waits_for_labels(
    start: Start, flights: dict[str, dict[str, pl.DataFrame]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a service that scored every second flight of March
    server, march = start(), flights["2013-03"]["flights"]
    rows = march.filter(pl.col("flight") % 2 == 0)
    for at in range(0, rows.height, 1000):
        httpx.post(f"{server.url}/predict", json={"rows": request_rows(rows[at : at + 1000])}).raise_for_status()
    # and others, with a distance that no flight has, and a flight that was requested too late
    forged = march.filter(pl.col("flight") % 160 == 1).with_columns(distance=pl.lit(6000, pl.Int16))
    for part in (forged, march.filter(pl.col("flight") == 3)):
        for at in range(0, part.height, 1000):
            httpx.post(f"{server.url}/predict", json={"rows": request_rows(part[at : at + 1000])}).raise_for_status()
    server.stop()
    # each in time, except for flight 3, which was requested after its departure
    for segment in server.log().iterdir():
        *in_time, late = [json.loads(line) for line in segment.read_bytes().splitlines()]
        assert set(late["inputs"]["flight"]) == {3}
        lines = [answer | {"time": "2013-02-28T00:00:00Z"} for answer in in_time]
        segment.write_text("".join(json.dumps(line) + "\n" for line in [*lines, late]) + '{"time": "2013-')
    # and a source that delivered March, without the labels of its last days
    monkeypatch.chdir(server.folder)
    missing_labels = [pl.when(UNLABELLED).then(None).otherwise(pl.col("arr_delay")).alias("arr_delay")]
    deliver(Path("source/2013-03"), flights["2013-03"] | {"flights": march.with_columns(missing_labels)})
    infra = yaml.safe_load(Path("infra.yaml").read_text())
    infra["source"] = {"kind": "files", "url": f"{server.folder}/source/{{partition}}/{{table}}.parquet"}
    infra["serving"] = {"log": {"drift": True}}
    Path("infra.yaml").write_text(yaml.safe_dump(infra))
    Path("gates.yaml").write_text((PRODUCT / "gates.yaml").read_text())
    reference.main()
    # when it is checked
    decision = run()
    # then the windows hold the requested rows, and nothing else
    days = rows["sched_dep"].dt.date()
    windows = [(window.first, window.last, window.rows) for window in decision.windows]
    counted = [rows.filter(days.is_between(pl.date(2013, 3, a), pl.date(2013, 3, a + 6))).height for a in (18, 25)]
    assert windows == [("2013-03-18", "2013-03-24", counted[0]), ("2013-03-25", "2013-03-31", counted[1])]
    # and performance is that of the answered scores, on the rows whose label has arrived
    logged = read_predictions(str(server.log())).select(*SCHEMA.unique, "score")
    labelled = rows.filter(~UNLABELLED, pl.col("arr_delay").is_not_null()).join(logged, on=SCHEMA.unique)
    assert decision.recent
    recent = labelled.filter(pl.col("sched_dep").dt.date() >= pl.lit(decision.recent.first).str.to_date())
    assert decision.recent.rows == recent.height
    auc = registered().all_metrics["auc"]((recent["arr_delay"] > 15).to_numpy(), recent["score"].to_numpy())
    assert decision.recent.performance["auc"].value == pytest.approx(auc, abs=1e-6)
    assert decision.history[-1].last == "2013-03-28"
    # and the rows that were left out are counted, and reported
    log, flights_3 = decision.log, march.filter(pl.col("flight") == 3).height
    assert log
    assert (log.counted, log.skewed, log.late, log.damaged) == (rows.height, forged.height, flights_3, 1)
    assert log.columns == {"distance": forged.height}
    assert f"`distance` in {forged.height:,}" in Path("reports/drift.md").read_text()
    # when gates.yaml allows less difference, then the log counts as broken
    gates = yaml.safe_load(Path("gates.yaml").read_text())
    gates["drift"]["maximum_skew"] = 0.001
    Path("gates.yaml").write_text(yaml.safe_dump(gates))
    decision = run()
    assert (decision.outcome, decision.log) == ("broken", log)
    assert "the prediction log disagrees with the source in" in decision.sentence
