"""Connections whose headers do not arrive, on a real uvicorn: those are closed, and nobody else."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from mlflow_deploy_plugin.serving.http_protocol import protocol
from mlflow_deploy_plugin.serving.slow_heads import SlowHeads

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001  there is one path
    """200 once the body is whole, however slowly it comes."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class LongWay:
    """An application whose requests all go through ASGI."""

    def infers(self, path: str) -> None:
        """No route of ``path`` goes the short way."""
        del path

    def begin(self, *_: Any) -> None:
        raise AssertionError


def serve(talk: Callable[[int], Awaitable[None]], *, limit_s: float) -> None:
    """Run ``talk`` with the port of a server that is watched every 50 ms."""

    async def run() -> None:
        http = protocol(LongWay())
        config = uvicorn.Config(hello, port=0, http=http, lifespan="off", log_config=None, interface="asgi3")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.01)
        connections: Callable[[], Any] = lambda: tuple(server.server_state.connections)  # noqa: E731
        SlowHeads(asyncio.get_running_loop(), connections, limit_s=limit_s, period_s=0.05).watch()
        await talk(server.servers[0].sockets[0].getsockname()[1])
        server.should_exit = True
        await task

    asyncio.run(run())


async def answer(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(4096), 30)


def test_a_head_that_does_not_arrive_is_refused_and_others_are_served() -> None:
    async def talk(port: int) -> None:
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        slow[1][1].write(GET[:20])
        slow[2][1].write(GET)  # a whole request, and then half of the next
        assert b"200" in await answer(slow[2][0])
        slow[2][1].write(GET[:-2])
        for reader, _ in slow:
            assert (await answer(reader)).startswith(b"HTTP/1.1 408 ")
            assert await answer(reader) == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert b"200" in await answer(reader)
        for _, each in (*slow, (reader, writer)):
            each.close()

    serve(talk, limit_s=0.3)


def test_an_idle_connection_between_requests_and_a_slow_body_are_left_alone() -> None:
    async def talk(port: int) -> None:
        idle, busy = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        idle[1].write(GET)
        assert b"200" in await answer(idle[0])
        busy[1].write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n12")
        await asyncio.sleep(1.0)
        busy[1].write(b"34")
        assert b"200" in await answer(busy[0])
        idle[1].write(GET)
        assert b"200" in await answer(idle[0])
        for _, writer in (idle, busy):
            writer.close()

    serve(talk, limit_s=0.2)
