"""The running service: its scores are those that the gate judged, and every answer names the model."""

from typing import Any

import httpx
import numpy as np
from tests.engine.serving.conftest import Server

from mergeworthy.data.contract import requested
from mergeworthy.project import registered

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


def test_a_request_keeps_a_valid_id(server: Server, golden: Golden) -> None:
    body = {"rows": golden[0][:1]}
    assert (
        httpx.post(f"{server.url}/predict", json=body, headers={"x-request-id": "abc-1"}).headers["x-request-id"]
        == "abc-1"
    )
    replaced = httpx.post(f"{server.url}/predict", json=body, headers={"x-request-id": "a b"}).headers["x-request-id"]
    assert len(replaced) == 32
