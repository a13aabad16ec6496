"""64 clients of ragged sizes and four protocols at once against an echo: everyone gets the rows that they sent.

``make test`` asks 2,000 times; ``MODELSERVE_ECHO_REQUESTS=100000 pytest tests/unit/serving/test_never_mixed.py`` asks
as often as that. A request in fifty is poison, and must cost nobody else.
"""

import asyncio
import os
import random
from typing import Any

import orjson

from mlflow_deploy_plugin.serving.app import Application
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor

REQUESTS = int(os.environ.get("MODELSERVE_ECHO_REQUESTS", "2000"))
CLIENTS = 64
POISON = -1.0


async def post(app: Application, path: str, document: Any) -> tuple[int, Any]:
    """One request without a socket, or a client's cost; the status and the JSON."""
    body, sent = orjson.dumps(document), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b""}
    await app(scope, receive, send)
    return sent[0]["status"], orjson.loads(sent[1]["body"])


async def by_mlflow(app: Application, rows: list[float]) -> tuple[int, Any]:
    document = {"dataframe_split": {"columns": ["a", "b"], "data": [[row, 0.5] for row in rows]}}
    status, answer = await post(app, "/invocations", document)
    return status, answer.get("predictions")


async def by_params(app: Application, rows: list[float]) -> tuple[int, Any]:
    """Of another group than :func:`by_mlflow`, since its parameters differ."""
    document = {"dataframe_split": {"columns": ["a", "b"], "data": [[row, 0.5] for row in rows]}, "params": {"k": 1}}
    status, answer = await post(app, "/invocations", document)
    return status, answer.get("predictions")


async def by_rest(app: Application, rows: list[float]) -> tuple[int, Any]:
    status, answer = await post(app, "/predict_batch", {"features": [{"b": 0.5, "a": row} for row in rows]})
    return status, answer.get("predictions")


async def by_tensors(app: Application, rows: list[float]) -> tuple[int, Any]:
    shape = [len(rows), 1]
    inputs = [
        {"name": "a", "datatype": "FP64", "shape": shape, "data": rows},
        {"name": "b", "datatype": "FP64", "shape": shape, "data": [0.5] * len(rows)},
    ]
    status, answer = await post(app, "/v2/models/churn/infer", {"inputs": inputs})
    return status, answer["outputs"][0]["data"] if "outputs" in answer else None


PROTOCOLS = (by_mlflow, by_params, by_rest, by_tensors)


def test_everyone_gets_the_rows_that_they_sent(serving: Any, talk: Any) -> None:
    serving.predictor = EchoPredictor(poison=POISON)
    served = serving.application(max_batch_size=16, max_queue=100_000)
    poisoned = 0

    async def one_client(name: int) -> None:
        nonlocal poisoned
        dice = random.Random(name)  # noqa: S311  ragged sizes, always the same
        for turn in range(REQUESTS // CLIENTS):
            rows = [float(name * 1_000_000 + turn * 16 + row) for row in range(dice.randint(1, 12))]
            is_poison = dice.random() < 0.02
            if is_poison:
                rows[dice.randrange(len(rows))] = POISON
                poisoned += 1
            status, answer = await dice.choice(PROTOCOLS)(served.app, rows)
            assert (status >= 400, answer) == ((True, None) if is_poison else (False, rows))

    async def play(_: Any) -> None:
        await asyncio.gather(*(one_client(name) for name in range(1, CLIENTS + 1)))

    talk(served, play)
    assert poisoned > REQUESTS / 100
    assert served.app.scrape()
    calls = len(serving.predictor.batches)
    assert calls < REQUESTS, "they shared calls"
    assert max(serving.predictor.batches) <= 16
