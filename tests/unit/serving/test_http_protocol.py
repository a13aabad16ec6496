"""The short way and uvicorn's long one give the same answers to the same bytes, over real sockets."""

import asyncio
import gzip
import json
import re
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvicorn

from mlflow_deploy_plugin.serving.http_protocol import protocol
from mlflow_deploy_plugin.serving.predictors.fake import EchoPredictor

Served = Serving = Any  # of conftest.py, which is no module

PATH = b"/endpoints/churn/invocations"
ROW = {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2.0]]}}
IN_FLIGHT = 'model_in_flight{model_version="churn-v4"} %d'
CHUNKED = b"transfer-encoding: chunked\r\n"


def body_of(*values: float) -> bytes:
    return json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[one, 2.0] for one in values]}}).encode()


def post(
    body: bytes, *, path: bytes = PATH, more: bytes = b"", version: bytes = b"1.1", method: bytes = b"POST"
) -> bytes:
    length = b"" if CHUNKED in more else b"content-length: %d\r\n" % len(body)
    head = b"content-type: application/json\r\nx-request-id: r-1\r\n" + more + length
    return method + b" " + path + b" HTTP/" + version + b"\r\nhost: bento\r\n" + head + b"\r\n" + body


Talk = Callable[[int], Awaitable[Any]]


def with_server(served: Served, talk: Talk, *, is_short: bool, keep_alive_s: int = 5) -> Any:
    """What ``talk`` returns, given the port of a running server."""

    async def whole() -> Any:
        config = uvicorn.Config(
            served.app,
            http=protocol(served.app) if is_short else "httptools",
            interface="asgi3",
            port=0,
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=keep_alive_s,
        )
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server._serve())
        while not (server.started and served.app.lifecycle.is_ready):
            await asyncio.sleep(0.005)
            assert not serving.done()
        try:
            return await talk(server.servers[0].sockets[0].getsockname()[1])
        finally:
            server.should_exit = True
            await serving

    return asyncio.run(whole())


async def said(port: int, pieces: Sequence[bytes], *, answers: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
    """Send the pieces one read apart; status, headers and body of each answer, in their order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        return [await asyncio.wait_for(answer(reader), 20) for _ in range(answers)]
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = dict(line.split(": ", 1) for line in lines)
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return int(first.split()[1]), headers, body
    return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


WHOLE = post(body_of(1.5))
PIPELINED = [post(body_of(1.0)) + post(body_of(2.0)) + post(body_of(3.0))]
ASKS: dict[str, tuple[list[bytes], int]] = {
    "whole": ([WHOLE], 1),
    "in two reads": ([WHOLE[:-5], WHOLE[-5:]], 1),
    "head and body apart": ([WHOLE.partition(b"{")[0], b"{" + WHOLE.partition(b"{")[2]], 1),
    "byte by byte at the end": ([WHOLE[:-3], WHOLE[-3:-2], WHOLE[-2:-1], WHOLE[-1:]], 1),
    "several rows": ([post(body_of(1.0, 2.0, 3.0))], 1),
    "one after the other": ([WHOLE, post(body_of(2.5)), post(body_of(3.5))], 3),
    "pipelined": (PIPELINED, 3),
    "pipelined with another route between": ([WHOLE + b"GET /ping HTTP/1.1\r\nhost: b\r\n\r\n" + WHOLE], 3),
    "chunked": ([post(b"", more=CHUNKED) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body_of(1.5)), body_of(1.5))], 1),
    "gzip": ([post(gzip.compress(body_of(1.5)), more=b"content-encoding: gzip\r\n")], 1),
    "an unknown encoding": ([post(body_of(1.5), more=b"content-encoding: rot13\r\n")], 1),
    "an old client": ([post(body_of(1.5), version=b"1.0")], 1),
    "the last of a connection": ([post(body_of(1.5), more=b"connection: close\r\n")], 1),
    "expects to be let": ([post(body_of(1.5), more=b"expect: nothing\r\n")], 1),
    "with a query": ([post(body_of(1.5), path=PATH + b"?x=1")], 1),
    "with an escape": ([post(body_of(1.5), path=b"/%69nvocations")], 1),
    "of the gateway": ([post(body_of(1.5), more=b"x-model-assigned: churn-v5\r\nx-user-id: u\r\n")], 1),
    "no JSON": ([post(b"{")], 1),
    "no body": ([post(b"")], 1),
    "a poisoned row": ([post(body_of(-1.0))], 1),
    "too large": ([post(b"x" * 3000)], 1),
    "another route": ([b"GET /ping HTTP/1.1\r\nhost: bento\r\n\r\n"], 1),
    "an unknown path": ([post(body_of(1.5), path=b"/nowhere")], 1),
    "a wrong method": ([post(body_of(1.5), method=b"PUT")], 1),
    "the head alone": ([b"HEAD /ping HTTP/1.1\r\nhost: bento\r\n\r\n" + WHOLE], 1),
    "no HTTP after a whole one": ([WHOLE + b"\x00\x01 nonsense\r\n\r\n"], 1),
    "no HTTP": ([b"nonsense\r\n\r\n"], 1),
    "a header that smuggles": ([post(body_of(1.5), more=b"x-model-assigned: a\x01b\r\n")], 1),
}


def comparable(told: list[tuple[int, dict[str, str], bytes]]) -> list[tuple[int, dict[str, str], bytes]]:
    """What must be equal: ids that are made are not."""
    return [
        (status, {**headers, "x-request-id": re.sub(r"^[0-9a-f]{32}$", "made", headers.get("x-request-id", ""))}, body)
        for status, headers, body in told
    ]


def test_both_ways_answer_alike(serving: Serving) -> None:
    async def ask_all(port: int) -> dict[str, Any]:
        names = list(ASKS)
        told = await asyncio.gather(*(said(port, ASKS[name][0], answers=ASKS[name][1]) for name in names))
        return {name: comparable(one) for name, one in zip(names, told, strict=True)}

    short, long = (
        with_server(serving.application(max_body_bytes=2000), ask_all, is_short=is_short) for is_short in (True, False)
    )
    assert short == long
    assert {name for name, told in long.items() if told[0][0] == 200} >= {"whole", "pipelined", "chunked", "gzip"}


def test_nearly_all_requests_go_the_short_way_and_the_others_do_not(serving: Serving) -> None:
    served = serving.application()
    begun: list[bytes] = []
    begin = served.app.begin

    def counted(*asked: Any) -> None:
        begun.append(asked[2])
        begin(*asked)

    served.app.begin = counted
    answers = with_server(
        served, lambda port: said(port, [WHOLE, WHOLE, WHOLE[:-5], WHOLE[-5:]], answers=3), is_short=True
    )
    assert [json.loads(body) for _, _, body in answers] == [{"predictions": [1.5]}] * 3
    assert begun == [body_of(1.5)] * 2


def test_a_stream_that_was_asked_for_on_the_short_way_is_sent_in_pieces(serving: Serving) -> None:
    serving.is_streamable = True
    asked = post(body_of(1.5, 2.5), more=b"accept: text/event-stream\r\n")

    async def talk(port: int) -> list[tuple[int, dict[str, str], bytes]]:
        return await said(port, [asked, WHOLE], answers=2)

    short, long = (with_server(serving.application(), talk, is_short=is_short) for is_short in (True, False))
    assert comparable(short) == comparable(long)
    assert short[0][2].count(b"data: ") == 3


class Held:
    """A model that answers when it is let."""

    def __init__(self, serving: Serving) -> None:
        self.let = threading.Event()
        self.let.set()
        serving.predictor = EchoPredictor(answer=self)
        self.served = serving.application()

    def __call__(self, column: Any) -> Any:
        assert self.let.wait(30)
        return column

    async def has(self, text: str) -> None:
        """Wait until the metrics say it."""
        async with asyncio.timeout(20):
            while text not in self.served.app.scrape().decode():  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.01)


def test_a_client_that_hangs_up_costs_no_call_of_the_model(serving: Serving) -> None:
    held = Held(serving)

    async def talk(port: int) -> None:
        held.let.clear()
        _, patient = await asyncio.open_connection("127.0.0.1", port)
        patient.write(post(body_of(1.0)))
        await held.has(IN_FLIGHT % 1)
        _, gone = await asyncio.open_connection("127.0.0.1", port)
        gone.write(post(body_of(2.0, 3.0)))
        await held.has(IN_FLIGHT % 2)
        gone.transport.abort()
        await asyncio.sleep(0.1)
        held.let.set()
        await held.has('code="499"')
        patient.close()

    with_server(held.served, talk, is_short=True)
    assert 2 not in serving.predictor.batches


def test_a_connection_that_says_nothing_for_too_long_is_closed_and_a_busy_one_is_not(serving: Serving) -> None:
    serving.predictor = EchoPredictor(seconds=1.5)

    async def talk(port: int) -> tuple[bytes, bytes]:
        silent, unsaid = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(WHOLE)  # takes longer than a connection may be idle
        _, _, body = await asyncio.wait_for(answer(reader), 20)
        writer.close()
        closed = await asyncio.wait_for(silent.read(), 20)
        unsaid.close()
        return closed, body

    closed, body = with_server(serving.application(), talk, is_short=True, keep_alive_s=1)
    assert (closed, json.loads(body)) == (b"", {"predictions": [1.5]})


def test_a_draining_worker_finishes_what_it_has_and_closes_the_connection(serving: Serving) -> None:
    held = Held(serving)

    async def talk(port: int) -> tuple[dict[str, str], bytes]:
        held.let.clear()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(WHOLE)
        await held.has(IN_FLIGHT % 1)
        held.served.app.lifecycle.drain()
        held.let.set()
        _, headers, _ = await asyncio.wait_for(answer(reader), 20)
        rest = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return headers, rest

    headers, rest = with_server(held.served, talk, is_short=True)
    assert headers["connection"] == "close"
    assert rest == b""
