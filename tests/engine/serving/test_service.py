"""The running service: its scores are those that the gate judged, and every answer names the model."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from tests.engine.serving.conftest import Server, environment

from mergeworthy.data.contract import requested
from mergeworthy.project import registered

MOUNTED = """
import asyncio, json, sys
import httpx
from mergeworthy.serving.service import Service
app = Service.to_asgi()
async def ask():
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answers = [await client.post("/predict", json=body) for body in json.loads(sys.argv[1])]
        return [(a.status_code, a.json(), len(a.headers.get_list("x-model-model"))) for a in answers]
print(json.dumps(asyncio.run(ask())))
"""
Golden = tuple[list[dict[str, Any]], list[float]]


def test_every_row_of_the_holdout_has_its_offline_score(server: Server, golden: Golden) -> None:
    rows, expected = golden
    with httpx.Client(base_url=server.url) as client:
        answers = [
            client.post("/predict", json={"rows": rows[at : at + 1000]}).raise_for_status().json()["scores"]
            for at in range(0, len(rows), 1000)
        ]
    np.testing.assert_allclose(np.concatenate(answers), expected, atol=1e-5)


def test_a_row_alone_and_among_others_has_the_same_score(server: Server, golden: Golden) -> None:
    rows, expected = golden
    alone = [httpx.post(f"{server.url}/predict", json={"rows": [row]}).json()["scores"][0] for row in rows[:20]]
    np.testing.assert_allclose(alone, expected[:20], atol=1e-5)


def test_a_request_has_no_columns_known_only_after_the_event() -> None:
    assert {"dep_delay", "arr_delay", "air_time"}.isdisjoint(requested(registered().schema))
    assert {"sched_dep", "origin", "tailnum"} <= requested(registered().schema).keys()


def test_an_unseen_airline_and_route_are_scored(server: Server, golden: Golden) -> None:
    unseen = golden[0][0] | {"carrier": "ZZ", "dest": "QQQ", "tailnum": None, "sched_dep": "2031-01-01T05:00:00"}
    answer = httpx.post(f"{server.url}/predict", json={"rows": [unseen]})
    assert answer.status_code == 200
    assert 0 < answer.json()["scores"][0] < 1


def test_every_answer_names_the_model(server: Server, golden: Golden) -> None:
    # given the identity from the endpoint
    identity = httpx.get(f"{server.url}/model").json()
    # then every answer, refusals too, and the metrics have the same
    for body in ({"rows": golden[0][:1]}, {"rows": []}):
        answer = httpx.post(f"{server.url}/predict", json=body)
        assert {name: answer.headers[f"x-model-{name}"] for name in identity} == identity
    metrics = httpx.get(f"{server.url}/metrics").text
    assert f'model="{identity["model"]}"' in metrics
    assert "model_data_until_timestamp_seconds 1.36" in metrics  # the end of February 2013
    assert 'le="0.0005"' in metrics


def test_its_scores_are_counted(server: Server, golden: Golden) -> None:
    def total() -> float:
        lines = httpx.get(f"{server.url}/metrics").text.splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith("model_score_count"))

    before = total()
    httpx.post(f"{server.url}/predict", json={"rows": golden[0][:37]})
    assert total() == before + 37


def test_its_requests_are_counted_as_bentoml_counts_others(server: Server, golden: Golden) -> None:
    def counts() -> dict[str, float]:
        lines = [line for line in httpx.get(f"{server.url}/metrics").text.splitlines() if 'endpoint="/predict"' in line]
        codes = {code: [line for line in lines if f'http_response_code="{code}"' in line] for code in (200, 422)}
        figures = ("request_total", "request_duration_seconds_count")
        return {
            f"{figure} {code}": sum(float(line.split()[-1]) for line in lines if f"bentoml_service_{figure}{{" in line)
            for code, lines in codes.items()
            for figure in figures
        } | {
            "now": sum(float(line.split()[-1]) for line in lines if "_request_in_progress{" in line),
        }

    before = counts()
    for rows in (golden[0][:1], golden[0][:2], []):
        httpx.post(f"{server.url}/predict", json={"rows": rows})
    after = counts()
    assert {name: after[name] - before[name] for name in after} == {
        "request_total 200": 2,
        "request_duration_seconds_count 200": 2,
        "request_total 422": 1,
        "request_duration_seconds_count 422": 1,
        "now": 0,
    }


def test_the_framework_answers_the_same_without_the_short_way(trained: Path, golden: Golden) -> None:
    # given the application as `bentoml serve` runs it, which has no server of ours around it
    body = json.dumps([{"rows": golden[0][:3]}, {"rows": []}])
    result = subprocess.run(
        [sys.executable, "-c", MOUNTED, body],
        cwd=trained,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    # then it scores and refuses as the service does, and names the model once
    (good, scores, models), (bad, error, _) = json.loads(result.stdout.splitlines()[-1])
    assert (good, bad, models) == (200, 422, 1)
    np.testing.assert_allclose(scores["scores"], golden[1][:3], atol=1e-5)
    assert error["fields"].keys() == {"rows"}


def test_a_request_keeps_a_valid_id(server: Server, golden: Golden) -> None:
    body = {"rows": golden[0][:1]}
    assert (
        httpx.post(f"{server.url}/predict", json=body, headers={"x-request-id": "abc-1"}).headers["x-request-id"]
        == "abc-1"
    )
    replaced = httpx.post(f"{server.url}/predict", json=body, headers={"x-request-id": "a b"}).headers["x-request-id"]
    assert len(replaced) == 32
