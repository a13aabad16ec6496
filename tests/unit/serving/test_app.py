"""The application over ASGI: routes, limits, headers, faults, readiness; the echo model behind it."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest

from mlflow_deploy_plugin.serving.codecs.base import Call, Infer, Reply
from mlflow_deploy_plugin.serving.engine import LARGE_BODY
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor
from mlflow_deploy_plugin.serving.request import Caller, Matrix, Request

Served = Serving = Any  # of conftest.py, which is no module

ROW = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.0]]}}
ECHOED = {"predictions": [1.5]}


def ask(talk: Any, served: Served, method: str, path: str, **options: Any) -> httpx.Response:
    async def conversation(client: httpx.AsyncClient) -> httpx.Response:
        return await client.request(method, path, **options)

    answer: httpx.Response = talk(served, conversation)
    return answer


@pytest.mark.parametrize("path", ["/invocations", "/endpoints/churn/invocations", "/endpoints/any-other/invocations"])
def test_mlflows_protocol_is_served_at_the_root_and_under_any_endpoint(talk: Any, serving: Serving, path: str) -> None:
    answer = ask(talk, serving.application(), "POST", path, json=ROW)
    assert (answer.status_code, answer.json()) == (200, ECHOED)


def test_plain_rest_answers_with_who_and_how_long(talk: Any, serving: Serving) -> None:
    answer = ask(talk, serving.application(), "POST", "/endpoints/churn/predict", json={"features": [1.5, 2]})
    body = answer.json()
    assert body.pop("latency_ms") > 0
    assert body == {"prediction": 1.5, "model_version": "churn-v4"}


def test_every_answer_says_who_answered_and_echoes_the_gateways_headers(talk: Any, serving: Serving) -> None:
    sent = {"x-request-id": "r-1", "x-model-assigned": "churn-v5", "x-user-id": "u"}
    answer = ask(talk, serving.application(), "GET", "/nowhere", headers=sent)
    assert answer.status_code == 404
    assert answer.headers["x-model-version"] == "churn-v4"
    assert answer.headers["x-request-id"] == "r-1"
    assert answer.headers["x-model-assigned"] == "churn-v5"


def test_a_request_id_is_made_where_none_or_a_monstrous_one_is_sent(talk: Any, serving: Serving) -> None:
    monstrous = {"x-request-id": "x" * 300}
    made = ask(talk, serving.application(), "GET", "/ping").headers["x-request-id"]
    other = ask(talk, serving.application(), "GET", "/ping", headers=monstrous).headers["x-request-id"]
    assert len(made) == len(other) == 32
    assert made != other


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/invocations", 405),
        ("DELETE", "/predict", 405),
        ("POST", "/ping", 405),
        ("POST", "/endpoints/churn/nothing", 404),
        ("GET", "/v9", 404),
    ],
)
def test_unknown_paths_and_methods(talk: Any, serving: Serving, method: str, path: str, status: int) -> None:
    answer = ask(talk, serving.application(), method, path)
    assert answer.status_code == status
    assert ("allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ("GET /v2/logging", 404, '{"error":"GET \'/v2/logging\' is not offered'),
        ("DELETE /v2/models/m/infer", 405, '{"error":"DELETE \'/v2/models/m/infer\''),
        ("GET /v1/models/m/x", 404, '{"error":"GET'),
        ("PATCH /predictions/m", 405, '"type":"MethodNotAllowedException"'),
        ("GET /nothing", 404, '{"detail":"Not Found"}'),
    ],
)
def test_a_path_that_is_not_offered_is_refused_in_its_protocols_words(
    talk: Any, serving: Serving, asked: str, status: int, words: str
) -> None:
    answer = ask(talk, serving.application(), *asked.split())
    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert answer.headers["x-request-id"]


def test_readiness_comes_after_the_warm_up_and_ends_with_the_drain(talk: Any, serving: Serving) -> None:
    served = serving.application()

    async def conversation(client: httpx.AsyncClient) -> list[int]:
        ready = (await client.get("/readyz")).status_code
        served.app.lifecycle.drain()
        leaving = await client.get("/readyz")
        assert leaving.headers["connection"] == "close"
        return [ready, leaving.status_code, (await client.get("/livez")).status_code]

    assert talk(served, conversation) == [200, 503, 200]
    assert serving.predictor.batches == [1], "the warm-up is the one call"


class SlowReader:
    """A codec that takes its time."""

    name = "slow"

    def routes(self) -> list[Infer]:
        return []

    def decode(self, call: Call) -> Request:
        del call
        time.sleep(0.1)
        return Request(payload=Matrix(values=np.ones((1, 2)), columns=("a", "b")))

    def encode(self, *_: Any) -> Reply:
        return Reply(200, b"text/plain", b"answered")

    def encode_error(self, error: Any, *_: Any) -> Reply:
        return Reply(error.fault.value, b"text/plain", error.message.encode())


def test_a_drain_waits_for_the_answer_to_a_large_body_that_is_still_being_read(talk: Any, serving: Serving) -> None:
    serving.predictor.seconds = 0.1
    served = serving.application()
    said: list[Any] = []

    async def conversation(_: httpx.AsyncClient) -> list[tuple[int, bytes]]:
        engine = served.app.start()
        call = Call("POST", Infer(path="/"), {}, {}, b"", b" " * LARGE_BODY, Caller(request_id="r"))
        engine.begin(SlowReader(), call, lambda: False, said.append)
        await engine.drain()
        return [(reply.status, reply.body) for reply in said]

    assert talk(served, conversation) == [(200, b"answered")]


def test_a_warm_up_leaves_no_trace_in_metrics_and_log(talk: Any, serving: Serving) -> None:
    served = serving.application()
    text = ask(talk, served, "GET", "/metrics").text
    assert 'model_predictions_total{model_version="churn-v4",prediction_class="other",status="success"} 0' in text
    assert served.recorder.predictions == []


def test_metrics_count_predictions_errors_and_rejects(talk: Any, serving: Serving) -> None:
    serving.predictor.poison = 13.0

    async def conversation(client: httpx.AsyncClient) -> str:
        await client.post("/predict_batch", json={"features": [[1, 2], [3, 4]]})
        await client.post("/predict", json={"features": [13, 2]})
        await client.post("/predict", json={"features": "x"})
        return (await client.get("/metrics")).text

    text = talk(serving.application(), conversation)
    assert 'prediction_class="other",status="success"} 2' in text
    assert 'prediction_class="none",status="error"} 1' in text
    assert 'model_rejected_total{model_version="churn-v4",reason="invalid"} 1' in text
    assert 'model_prediction_latency_seconds_bucket{model_version="churn-v4",endpoint="churn",le="0.1"}' in text
    assert 'route="/predict",code="422"} 2' in text


def test_a_body_beyond_the_limit_is_413_even_without_its_length(talk: Any, serving: Serving) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 100

    for body in (b"x" * 500, pieces()):
        answer = ask(talk, serving.application(max_body_bytes=200), "POST", "/invocations", content=body)
        assert answer.status_code == 413
        assert answer.json()["error_code"] == "BAD_REQUEST"


def test_a_body_that_does_not_arrive_is_408(serving: Serving) -> None:
    served = serving.application(timeout_s=0.1)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(30)
        return {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def whole() -> None:
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": []}
        await served.app(scope, receive, send)
        await served.app.stop()

    asyncio.run(whole())
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


def test_gzip_is_understood_and_a_bomb_is_not(talk: Any, serving: Serving) -> None:
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    packed = gzip.compress(json.dumps(ROW).encode())
    answer = ask(talk, serving.application(), "POST", "/invocations", content=packed, headers=headers)
    assert answer.json() == ECHOED
    bomb = gzip.compress(b" " * 1_000_000)
    answer = ask(
        talk, serving.application(max_body_bytes=10_000), "POST", "/invocations", content=bomb, headers=headers
    )
    assert answer.status_code == 413
    answer = ask(talk, serving.application(), "POST", "/invocations", content=packed[:-9], headers=headers)
    assert answer.status_code == 400


def test_a_slow_model_is_504_and_a_hanging_one_has_its_worker_replaced(talk: Any, serving: Serving) -> None:
    serving.predictor = EchoPredictor(seconds=0.0)
    served = serving.application(timeout_s=0.2)

    async def conversation(client: httpx.AsyncClient) -> list[int]:
        serving.predictor.seconds = 1.5
        slow = asyncio.create_task(client.post("/invocations", json=ROW))
        await asyncio.sleep(0.15)
        waiting = asyncio.create_task(client.post("/invocations", json=ROW))
        statuses = [(await slow).status_code, (await waiting).status_code, (await client.get("/readyz")).status_code]
        statuses.append((await client.post("/invocations", json=ROW)).status_code)
        await asyncio.sleep(0.6)
        return statuses

    first, waiting, ready, later = talk(served, conversation)
    assert (first, ready, later) == (504, 503, 503)
    assert waiting in {503, 504}
    assert served.exits == [70]


def test_a_call_that_hangs_on_the_event_loop_has_its_worker_replaced_while_the_loop_stands(
    talk: Any, serving: Serving
) -> None:
    serving.may_run_inline = True
    served = serving.application(timeout_s=0.6)

    async def conversation(client: httpx.AsyncClient) -> list[int]:
        for _ in range(3):
            await client.post("/invocations", json=ROW)  # short calls, so that the next is on the loop
        assert served.exits == []
        serving.predictor.seconds = 3.0
        await client.post("/invocations", json=ROW)
        return list(served.exits)  # before the loop has turned again

    assert talk(served, conversation) == [70]


def test_a_full_queue_is_429_with_retry_after(talk: Any, serving: Serving) -> None:
    serving.predictor.seconds = 0.2

    async def conversation(client: httpx.AsyncClient) -> list[httpx.Response]:
        asking = [client.post("/predict", json={"features": [n, 0]}) for n in range(6)]
        return await asyncio.gather(*asking)

    answers = talk(serving.application(max_queue=2, max_batch_size=2), conversation)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert {answer.status_code for answer in answers} == {200, 429}


def test_predictions_are_recorded_with_who_asked(talk: Any, serving: Serving) -> None:
    served = serving.application()
    sent = {"x-request-id": "r-1", "x-user-id": "anna", "x-model-assigned": "churn-v4"}
    ask(talk, served, "POST", "/predict", json={"features": [1.5, 2]}, headers=sent)
    (kept,) = served.recorder.predictions
    assert (kept.caller.request_id, kept.caller.user_id, kept.caller.assigned) == ("r-1", "anna", "churn-v4")
    assert (kept.protocol, kept.status, kept.rows, kept.output.tolist()) == ("rest", "success", 1, [1.5])


def test_a_model_that_fails_is_recorded_and_a_client_that_errs_is_not(talk: Any, serving: Serving) -> None:
    serving.predictor.poison = 13.0
    served = serving.application()
    ask(talk, served, "POST", "/predict", json={"features": [13, 2]})
    ask(talk, served, "POST", "/predict", json={"features": [13]})
    assert [kept.status for kept in served.recorder.predictions] == ["error"]


@pytest.mark.parametrize(
    ("path", "body", "answered"),
    [
        ("/invocations", {"dataframe_split": {"columns": ["a", "b"], "data": [[13, 2.0]]}}, (400, "1")),
        ("/v1/models/churn:predict", {"inputs": {"a": [13.0], "b": [2.0]}}, (400, "1")),
        ("/predict", {"features": [13, 2]}, (422, "1")),
        ("/predict", {"features": [13]}, (422, None)),
        ("/v1/models/churn:predict", {"unknown": 1}, (400, None)),
        ("/predict", {"features": [1, 2]}, (200, None)),
    ],
)
def test_a_models_failure_under_a_clients_status_is_marked_for_the_gateway(
    talk: Any, serving: Serving, path: str, body: Any, answered: tuple[int, str | None]
) -> None:
    serving.predictor.poison = 13.0
    answer = ask(talk, serving.application(), "POST", path, json=body)
    assert (answer.status_code, answer.headers.get("x-model-failed")) == answered


@pytest.mark.parametrize(
    "path",
    ["/invocations", "/predict", "/v1/models/m:predict", "/v2/models/m/infer", "/predictions/m", "/feedback"],
)
def test_too_large_and_too_slow_are_refused_in_each_protocols_own_words(talk: Any, serving: Serving, path: str) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    large = ask(talk, serving.application(max_body_bytes=10), "POST", path, content=b"x" * 11)
    slow = ask(talk, serving.application(timeout_s=0.1), "POST", path, content=slowly())
    assert (large.status_code, slow.status_code) == (413, 408)
    told = {"/invocations": "message", "/predictions/m": "message"}.get(path, "error")
    assert "larger than 10 bytes" in str(large.json()[told])
    assert "did not arrive" in str(slow.json()[told])


def test_feedback_is_accepted(talk: Any, serving: Serving) -> None:
    served = serving.application()
    answer = ask(talk, served, "POST", "/endpoints/churn/feedback", json={"request_id": "r-1", "labels": [0, 1]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2})
    kept = [(label.request_id, label.row, label.value) for label in served.labels.labels]
    assert kept == [("r-1", 0, 0), ("r-1", 1, 1)]


STREAM = {"accept": "text/event-stream"}


def test_a_stream_is_sent_piece_by_piece(talk: Any, serving: Serving) -> None:
    serving.is_streamable = True
    answer = ask(talk, serving.application(), "POST", "/invocations", json=ROW, headers=STREAM)
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text == "data: 1.5\n\ndata: [DONE]\n\n"


def test_a_stream_that_breaks_says_so_and_one_that_cannot_begin_has_a_status(talk: Any, serving: Serving) -> None:
    serving.is_streamable = True
    serving.predictor.poison = 3.0
    rows = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.0], [3.0, 4.0]]}}
    broken = ask(talk, serving.application(), "POST", "/invocations", json=rows, headers=STREAM).text
    assert broken.startswith("data: 1.5\n\nevent: error\ndata: ")
    serving.predictor.poison = 1.5
    assert ask(talk, serving.application(), "POST", "/invocations", json=rows, headers=STREAM).status_code == 400


def test_a_model_that_cannot_stream_says_so(talk: Any, serving: Serving) -> None:
    answer = ask(talk, serving.application(), "POST", "/invocations", json=ROW, headers=STREAM)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_the_description_and_the_openapi_document_name_the_endpoint(talk: Any, serving: Serving) -> None:
    index = ask(talk, serving.application(), "GET", "/endpoints/churn").json()
    assert index["deployment"] == "churn-v4"
    assert "/invocations" in index["protocols"]["mlflow"]
    document = ask(talk, serving.application(), "GET", "/openapi.json").json()
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = ask(talk, serving.application(), "POST", "/predict", json=example)
    assert answer.status_code == 200


def test_a_websocket_is_closed(serving: Serving) -> None:
    sent: list[dict[str, Any]] = []

    async def whole() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await serving.application().app({"type": "websocket", "path": "/"}, receive, send)

    asyncio.run(whole())
    assert sent == [{"type": "websocket.close", "code": 1000}]
