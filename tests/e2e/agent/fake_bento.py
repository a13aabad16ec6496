"""A model server of the standard library alone, started the way the agent starts a Bento.

Header ``x-fake`` makes it misbehave: ``sleep=S`` answers late, ``status=N`` answers N, ``exit-of=D`` dies before
it answers where it is deployment D, ``hang-of=D`` then never answers, ``brief`` answers two bytes and forgets.
Address ``…/seen`` tells what came before.
Variable ``FAKE`` misbehaves from the start: ``crash`` exits at once, ``never-ready`` answers 503 to /readyz,
``slow=S`` is ready after S seconds.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time

DEPLOYMENT = os.environ.get("MODELSERVE_DEPLOYMENT", "")
FAKE = os.environ.get("FAKE", "")
BORN = time.monotonic()
SEEN: list[dict[str, str]] = []
OPEN: set[asyncio.Task[None]] = set()


def is_ready() -> bool:
    if FAKE.startswith("slow="):
        return time.monotonic() - BORN > float(FAKE.partition("=")[2])
    return FAKE != "never-ready"


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        return first.split()[1], headers, await read_chunks(reader)
    return first.split()[1], headers, await reader.readexactly(int(headers.get("content-length", "0")))


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def answer(path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    if path == "/readyz":
        return (200, b"ready") if is_ready() else (503, b"starting")
    fake, _, value = headers.get("x-fake", "").partition("=")
    if path.endswith("/seen"):
        return 200, json.dumps(SEEN).encode()
    if fake == "brief":
        return 200, b"{}"
    SEEN.append(headers)
    if fake == "exit-of" and value == DEPLOYMENT:
        os._exit(9)
    if fake == "hang-of" and value == DEPLOYMENT:
        await asyncio.Event().wait()
    if fake == "sleep":
        await asyncio.sleep(float(value))
    told = {
        "deployment": DEPLOYMENT,
        "pid": os.getpid(),
        "path": path,
        "headers": headers,
        "bytes": len(body),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }
    return int(value) if fake == "status" else 200, json.dumps(told).encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            path, headers, body = await read_request(reader)
            status, text = await answer(path, headers, body)
            writer.write(
                f"HTTP/1.1 {status} OK\r\ncontent-length: {len(text)}\r\ncontent-type: application/json\r\n"
                f"x-model-version: {DEPLOYMENT}\r\n\r\n".encode()
                + text
            )
            await writer.drain()
    writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bento")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    if FAKE == "crash":
        sys.exit("ValueError: this model cannot be loaded")
    server = await asyncio.start_server(serve, options.host, options.port)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    server.close()
    await asyncio.sleep(0.1)


asyncio.run(main())
