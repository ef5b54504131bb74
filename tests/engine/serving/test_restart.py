"""A rolling update under load: a new process is started, requests go there, and the old process drains."""

import os
import threading
import time
from typing import Any

import httpx
import numpy as np
import pytest
from tests.engine.serving.conftest import Start

from mergeworthy.data.predictions import read_predictions

Golden = tuple[list[dict[str, Any]], list[float]]
SECONDS = int(os.environ.get("LOAD_SECONDS", "20"))


@pytest.mark.alone
def test_no_answer_is_lost_or_wrong_while_the_process_is_replaced(start: Start, golden: Golden) -> None:
    # given clients that send requests to the current endpoint, as behind a Kubernetes Service
    rows, expected = golden
    old = start()
    endpoints, stopped, wrong, ids = [old.url], threading.Event(), list[str](), list[str]()

    def ask(seed: int) -> None:
        draw, client, url = np.random.default_rng(seed), httpx.Client(), ""
        while not stopped.is_set():
            if url != endpoints[0]:
                client, url = httpx.Client(base_url=endpoints[0]), endpoints[0]
            at = int(draw.integers(0, len(rows) - 20))
            size = int(draw.choice([1, 20]))
            try:
                answer = client.post("/predict", json={"rows": rows[at : at + size]})
                is_correct = np.allclose(answer.json()["scores"], expected[at : at + size], atol=1e-5)
            except (httpx.TransportError, KeyError) as error:
                wrong.append(repr(error))
                continue
            ids.append(answer.headers["x-request-id"])
            if answer.status_code != 200 or not is_correct:
                wrong.append(answer.text)

    clients = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for client in clients:
        client.start()
    time.sleep(SECONDS / 2)
    # when, halfway, a new process is started, the endpoint changes, and the old process gets SIGTERM
    new = start(old.folder)
    endpoints[0] = new.url
    old.stop()
    time.sleep(SECONDS / 2)
    stopped.set()
    for client in clients:
        client.join()
    new.stop()
    # then every request got its correct answer, and each is in the log exactly once
    assert not wrong, wrong[:3]
    assert len(ids) > 20 * SECONDS
    logged = read_predictions(str(old.log()))["request_id"].unique()
    assert set(logged) == set(ids)
    assert len(set(ids)) == len(ids)
