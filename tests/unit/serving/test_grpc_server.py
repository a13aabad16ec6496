"""gRPC in front of the engine, asked over a socket by gRPC's own client with bytes."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from mlflow_deploy_plugin.serving import grpc_server
from mlflow_deploy_plugin.serving.codecs.oip_grpc import SERVICE
from mlflow_deploy_plugin.serving.codecs.oip_messages import MESSAGES
from mlflow_deploy_plugin.serving.codecs.tensorflow_grpc import PREDICTION
from mlflow_deploy_plugin.serving.codecs.tensorflow_messages import MESSAGES as TENSORFLOW
from mlflow_deploy_plugin.serving.codecs.tensorflow_messages import NUMBERS

Conversation = Callable[[grpc.aio.Channel], Awaitable[Any]]
INFER = f"{SERVICE}ModelInfer"


def request(*rows: float, other: float = 0.0) -> bytes:
    columns = {"a": list(rows), "b": [other] * len(rows)}
    inputs = [
        {"name": name, "datatype": "FP64", "shape": [len(values)], "contents": {"fp64_contents": values}}
        for name, values in columns.items()
    ]
    return bytes(MESSAGES["ModelInferRequest"](model_name="churn", inputs=inputs).SerializeToString())


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(3000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    pytest.fail("not within 30 s")


def speak(served: Any, conversation: Conversation) -> Any:
    """Run a conversation with the gRPC side of an application, from its start to its stop."""

    async def whole() -> Any:
        served.app.start()
        await until(lambda: served.app.lifecycle.is_ready)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{served.app.grpc_port}") as channel:
                return await conversation(channel)
        finally:
            await served.app.stop()

    return asyncio.run(whole())


async def refusal(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as told:
        await call
    return told.value.code().name, told.value.details()


def make(serving: Any, **settings: Any) -> Any:
    return serving.application(grpc_address="127.0.0.1:0", **settings)


def test_a_call_is_answered_counted_and_logged_like_one_of_rest(serving: Any) -> None:
    served = make(serving)

    async def ask(channel: grpc.aio.Channel) -> Any:
        metadata = (("x-request-id", "r7"), ("x-user-id", "ada"), ("x-model-assigned", "churn-v4"))
        call = channel.unary_unary(INFER)(request(1.0, 2.0), metadata=metadata)
        body = await call
        return MESSAGES["ModelInferResponse"].FromString(body), dict(await call.initial_metadata()), served.app.scrape()

    answer, metadata, scraped = speak(served, ask)
    assert answer.outputs[0].shape[0] == 2
    assert (metadata["x-model-version"], metadata["x-request-id"]) == ("churn-v4", "r7")
    assert metadata["x-model-assigned"] == "churn-v4"
    (logged,) = served.recorder.predictions
    assert (logged.protocol, logged.rows, logged.status) == ("oip-grpc", 2, "success")
    assert (logged.caller.request_id, logged.caller.user_id) == ("r7", "ada")
    assert f'protocol="oip-grpc",route="{INFER}",code="200"}} 1'.encode() in scraped


def test_a_call_without_an_id_is_given_one(serving: Any) -> None:
    async def ask(channel: grpc.aio.Channel) -> str:
        call = channel.unary_unary(INFER)(request(1.0))
        await call
        return str(dict(await call.initial_metadata())["x-request-id"])

    assert len(speak(make(serving), ask)) == 32


def test_a_health_check_is_answered_whatever_service_it_names(serving: Any) -> None:
    async def ask(channel: grpc.aio.Channel) -> list[bytes]:
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        return [await check(body) for body in (b"", b"\x0a\x05churn")]

    assert speak(make(serving), ask) == [b"\x08\x01"] * 2


def test_what_is_not_offered_is_unimplemented(serving: Any) -> None:
    async def ask(channel: grpc.aio.Channel) -> list[tuple[str, str]]:
        unary = [f"{SERVICE}TraceSetting", f"{PREDICTION}Classify", "/other.Service/Method"]
        return [
            *[await refusal(channel.unary_unary(path)(b"")) for path in unary],
            await refusal(channel.stream_stream(f"{SERVICE}ModelStreamInfer")(iter([b""])).read()),
        ]

    told = speak(make(serving), ask)
    assert {code for code, _ in told} == {"UNIMPLEMENTED"}
    assert [("docs/protocols.md" in words) for _, words in told] == [True, True, False, True]


def test_statuses_and_what_stands_beside_them(serving: Any) -> None:
    served = make(serving)

    async def ask(channel: grpc.aio.Channel) -> Any:
        infer = channel.unary_unary(INFER)
        failed = await refusal(infer(request(-1.0)))
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await infer(b"\xff")
        beside = dict(told.value.trailing_metadata())
        return (
            failed,
            told.value.code().name,
            beside,
            await refusal(channel.unary_unary(f"{SERVICE}ModelMetadata")(b"\xff")),
        )

    failed, malformed, beside, answer = speak(served, ask)
    assert failed == ("INVALID_ARGUMENT", "the model raised ValueError: poison -1.0")
    assert (malformed, answer[0]) == ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert beside["x-model-version"] == "churn-v4"
    assert [one.status for one in served.recorder.predictions] == ["error"]


def test_a_message_above_the_limit_is_refused_packed_or_not(serving: Any) -> None:
    async def ask(channel: grpc.aio.Channel) -> list[str]:
        infer, body = channel.unary_unary(INFER), request(*[0.0] * 1000)
        packed = infer(body, compression=grpc.Compression.Gzip)
        return [(await refusal(call))[0] for call in (infer(body), packed)]

    assert speak(make(serving, max_body_bytes=4096), ask) == ["RESOURCE_EXHAUSTED"] * 2


MEBIBYTE = 1024 * 1024
ALLOWED = MEBIBYTE // 8


def columns(datatype: str, count: int, contents: dict[str, Any], **more: Any) -> bytes:
    """Both columns of the model, ``count`` values in all."""
    inputs = [{"name": name, "datatype": datatype, "shape": [count // 2], "contents": contents} for name in "ab"]
    return bytes(MESSAGES["ModelInferRequest"](model_name="churn", inputs=inputs, **more).SerializeToString())


def of_tensorflow(count: int) -> bytes:
    """The same with booleans in the field of their type."""
    message = TENSORFLOW["PredictRequest"]()
    for name in "ab":
        tensor = message.inputs[name]
        tensor.dtype = NUMBERS["DT_BOOL"]
        tensor.tensor_shape.dim.add(size=count // 2)
        tensor.bool_val.extend([True] * (count // 2))
    return bytes(message.SerializeToString())


def test_more_typed_values_than_a_text_may_have_are_refused_and_raw_ones_are_taken(serving: Any) -> None:
    """A boolean or an empty text weighs a byte or two on the wire, and a hundred once it is read."""
    many = ALLOWED + 2
    calls = {
        "bools": (INFER, columns("BOOL", many, {"bool_contents": [True] * (many // 2)})),
        "texts": (INFER, columns("BYTES", many, {"bytes_contents": [b""] * (many // 2)})),
        "tensorflow": (f"{PREDICTION}Predict", of_tensorflow(many)),
    }
    raw = {"inputs": [{"name": name, "datatype": "FP32", "shape": [many // 2]} for name in "ab"]}
    taken = {
        "raw": MESSAGES["ModelInferRequest"](**raw, raw_input_contents=[bytes(2 * many)] * 2).SerializeToString(),
        "as many as are read": columns("FP32", ALLOWED, {"fp32_contents": [0.0] * (ALLOWED // 2)}),
    }

    async def ask(channel: grpc.aio.Channel) -> Any:
        told = {name: await refusal(channel.unary_unary(path)(body)) for name, (path, body) in calls.items()}
        answers = [MESSAGES["ModelInferResponse"].FromString(await channel.unary_unary(INFER)(taken[n])) for n in taken]
        return told, [answer.outputs[0].shape[0] for answer in answers]

    told, rows = speak(make(serving, max_body_bytes=MEBIBYTE), ask)
    words = f"the tensors have {many} values or more; at most {ALLOWED} are read at once from typed fields"
    assert {code for code, _ in told.values()} == {"RESOURCE_EXHAUSTED"}
    assert all(said.startswith(words) for _, said in told.values())
    assert told["bools"][1].endswith("or as raw_input_contents")
    assert told["tensorflow"][1].endswith("or as tensor_content")
    assert rows == [many // 2, ALLOWED // 2]


EMPTY: dict[str, tuple[str, bytes]] = {
    "inputs": (INFER, b"\x2a\x00"),
    "parameters": (INFER, b"\x22\x00"),
    "of an input": (INFER, b"\x22\x00"),
    "outputs of tensorflow": (f"{PREDICTION}Predict", b"\x1a\x00"),
    "sizes of tensorflow": (f"{PREDICTION}Predict", b"\x12\x00"),
}
WRAPPED = {"of an input": [b"\x2a"], "sizes of tensorflow": [b"\x12", b"\x12", b"\x12"]}
"""Fields that the empty ones lie in, the outermost first."""


def wrapped(field: bytes, within: bytes) -> bytes:
    return field + bytes(_varint(len(within))) + within


def _varint(number: int) -> list[int]:
    return [number] if number < 0x80 else [number & 0x7F | 0x80, *_varint(number >> 7)]


@pytest.mark.parametrize("what", EMPTY)
def test_a_message_of_many_empty_ones_is_refused_before_it_is_read(serving: Any, what: str) -> None:
    """Each weighs two bytes on the wire, and ninety or more once it is read."""
    path, empty = EMPTY[what]
    body = empty * (MEBIBYTE // 2 - 16)
    for field in reversed(WRAPPED.get(what, [])):
        body = wrapped(field, body)

    async def ask(channel: grpc.aio.Channel) -> Any:
        return await refusal(channel.unary_unary(path)(body))

    code, said = speak(make(serving, max_body_bytes=MEBIBYTE), ask)
    assert code == "RESOURCE_EXHAUSTED"
    assert said.startswith(f"the message has more than {ALLOWED} fields (one for each 8 bytes of max_body_bytes")


def test_a_full_queue_is_told_when_to_come_back(serving: Any) -> None:
    served = make(serving, max_queue=1, max_batch_size=1)

    async def ask(channel: grpc.aio.Channel) -> list[Any]:
        served.predictor.seconds = 0.3
        infer = channel.unary_unary(INFER)
        return await asyncio.gather(*(infer(request(1.0)) for _ in range(6)), return_exceptions=True)

    told = speak(served, ask)
    refused = [one for one in told if isinstance(one, grpc.aio.AioRpcError)]
    assert refused
    assert {one.code().name for one in refused} == {"RESOURCE_EXHAUSTED"}
    assert int(dict(refused[0].trailing_metadata())["grpc-retry-pushback-ms"]) >= 1000


def test_a_deadline_is_kept_and_a_call_that_was_given_up_costs_no_batch(serving: Any) -> None:
    served = make(serving, max_batch_size=1)

    async def ask(channel: grpc.aio.Channel) -> Any:
        served.predictor.seconds = 0.4
        served.predictor.batches.clear()  # of the warm-up
        infer = channel.unary_unary(INFER)
        first = infer(request(1.0))
        await asyncio.sleep(0.1)
        given_up, late = infer(request(2.0)), infer(request(3.0), timeout=0.1)
        await asyncio.sleep(0.05)
        given_up.cancel()
        told = await refusal(late)
        await first
        last = infer(request(4.0))
        await last
        return told

    code, _ = speak(served, ask)
    assert code == "DEADLINE_EXCEEDED"
    assert len(served.predictor.batches) == 2


def test_a_drain_finishes_what_is_in_flight(serving: Any) -> None:
    served = make(serving)

    async def ask(channel: grpc.aio.Channel) -> bytes:
        served.predictor.seconds = 0.3
        call = channel.unary_unary(INFER)(request(1.0))
        await asyncio.sleep(0.1)
        await served.app.stop()
        return bytes(await call)

    assert speak(served, ask)


def test_an_address_that_is_taken_ends_the_worker(serving: Any) -> None:
    first = make(serving)

    async def ask(channel: grpc.aio.Channel) -> Any:  # noqa: ARG001  only its address matters
        second = serving.application(grpc_address=f"127.0.0.1:{first.app.grpc_port}")
        second.app.start()
        await until(lambda: bool(second.exits))
        await second.app.stop()
        return second.exits

    assert speak(first, ask) == [3]


def test_without_grpcio_a_worker_serves_the_rest_and_says_so(
    serving: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, grpc_server.__name__)
    monkeypatch.setitem(sys.modules, "grpc", None)
    served = make(serving)

    async def start() -> None:
        served.app.start()
        await until(lambda: served.app.lifecycle.is_ready)
        await served.app.stop()

    asyncio.run(start())
    assert served.app.grpc_port is None
    assert "gRPC is not served" in caplog.text
