from collections.abc import Callable
from typing import Any

import httpx
import pytest

from mlflow_deploy_plugin.errors import ConfigError, RetryLaterError, ScoringError
from mlflow_deploy_plugin.scoring import Address, FakeScorer, HttpScorer, Scorer, Timeouts

CHURN = Address(gateway="http://gateway.test", endpoint="churn")


def scorer(answer: Callable[[httpx.Request], httpx.Response], **settings: Any) -> HttpScorer:
    return HttpScorer(transport=httpx.MockTransport(answer), sleep=lambda _: None, **settings)


def test_a_question_names_the_endpoint_and_the_pinned_deployment() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"predictions": [1]})

    pinned = Address(gateway="http://gateway.test", endpoint="churn", deployment="churn-v4", user="ada")
    assert scorer(answer).invoke(pinned, {"inputs": [[1]]}) == {"predictions": [1]}
    assert str(seen[0].url) == "http://gateway.test/endpoints/churn/invocations"
    assert (seen[0].headers["x-model-version"], seen[0].headers["x-user-id"]) == ("churn-v4", "ada")


def test_without_a_pin_no_header_chooses() -> None:
    assert CHURN.headers == {}


def test_a_nan_in_the_answer_is_null() -> None:
    assert scorer(lambda _: httpx.Response(200, text='{"predictions": [NaN]}')).invoke(CHURN, {}) == {
        "predictions": [None]
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"error_code": "BAD_REQUEST", "message": "no column\\n\'a\'"}', "400: no column 'a'"),
        ('{"error": "bad shape"}', "400: bad shape"),
        ("plain", "400: plain"),
        ("", "400: Bad Request"),
    ],
    ids=["mlflow", "kserve", "text", "empty"],
)
def test_an_error_carries_the_server_s_words_on_one_line(text: str, words: str) -> None:
    with pytest.raises(ScoringError) as refusal:
        scorer(lambda _: httpx.Response(400, text=text)).invoke(CHURN, {})
    assert str(refusal.value).endswith(words)
    assert refusal.value.status == 400


def test_an_answer_that_is_not_json_is_an_error() -> None:
    with pytest.raises(ScoringError, match="not JSON"):
        scorer(lambda _: httpx.Response(200, text="<html>")).invoke(CHURN, {})


def test_a_refused_connection_is_tried_again() -> None:
    tries = iter([httpx.ConnectError("refused"), httpx.ConnectError("refused"), None])

    def answer(request: httpx.Request) -> httpx.Response:
        if (error := next(tries)) is not None:
            raise error
        return httpx.Response(200, json=[request.method])

    assert scorer(answer).invoke(CHURN, {}) == ["POST"]


@pytest.mark.parametrize("error", [httpx.ReadError("reset"), httpx.ReadTimeout("slow")])
def test_what_may_have_reached_the_model_is_not_sent_again(error: httpx.TransportError) -> None:
    tries: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        tries.append(str(request.url))
        raise error

    with pytest.raises(RetryLaterError):
        scorer(answer).invoke(CHURN, {})
    assert len(tries) == 1


def test_an_address_where_nothing_listens_is_given_up() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(RetryLaterError, match="modelserve status"):
        scorer(answer).invoke(CHURN, {})


def test_the_total_time_bounds_the_tries() -> None:
    ticks = iter([0.0, 0.0, 700.0])

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(RetryLaterError, match="600 s"):
        scorer(answer, clock=lambda: next(ticks)).invoke(CHURN, {})


def test_mlflow_s_variables_set_the_timeouts() -> None:
    variables = {"MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT": "5", "MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT": "9"}
    assert Timeouts.from_environment(variables) == Timeouts(request_s=5, total_s=9)


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan"])
def test_a_timeout_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT"):
        Timeouts.from_environment({"MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT": text})


def test_a_stream_gives_its_events() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept"] == "text/event-stream"
        assert b'"stream": true' in request.content
        return httpx.Response(
            200,
            headers={"content-type": "text/event-stream; charset=utf-8"},
            text=': hello\n\ndata: {"delta": "a"}\n\ndata: 7\n\ndata: [DONE]\n\ndata: {"never": 1}\n\n',
        )

    assert list(scorer(answer).stream(CHURN, {"messages": []})) == [{"delta": "a"}, {"predictions": 7}]


def test_a_server_that_does_not_stream_gives_one_event() -> None:
    events = scorer(lambda _: httpx.Response(200, json={"predictions": [1]})).stream(CHURN, {})
    assert list(events) == [{"predictions": [1]}]


def test_an_error_inside_a_stream_is_raised() -> None:
    text = 'event: error\ndata: {"message": "model died"}\n\n'
    events = scorer(
        lambda _: httpx.Response(200, headers={"content-type": "text/event-stream"}, text=text),
    ).stream(CHURN, {})
    with pytest.raises(ScoringError, match="model died"):
        list(events)


def test_metadata_that_is_not_there_is_none() -> None:
    assert scorer(lambda _: httpx.Response(404, text="no")).metadata(CHURN) is None


def test_the_fake_is_a_scorer() -> None:
    fake: Scorer = FakeScorer()
    assert list(fake.stream(CHURN, {})) == [fake.invoke(CHURN, {})]


def test_an_answer_of_another_deployment_than_the_one_asked_is_none() -> None:
    served = httpx.Response(200, json={"predictions": [1]}, headers={"x-model-version": "churn-v2"})
    ours = Address(gateway="http://gate:8080", endpoint="churn", deployment="churn-v2")
    assert scorer(lambda _: served).invoke(ours, {}) == {"predictions": [1]}
    other = Address(gateway="http://gate:8080", endpoint="churn", deployment="churn-v1")
    with pytest.raises(ScoringError, match="asked for churn-v1 and answered by churn-v2"):
        scorer(lambda _: served).invoke(other, {})
