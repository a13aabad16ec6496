"""Load from a process of its own: keep-alive connections that never stop, and a count of everything but 200.

``load.py PORT PATH CONNECTIONS STOP_FILE``; prints one JSON line when STOP_FILE appears.
"""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

PORT, PATH, CONNECTIONS, STOP = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
answers: Counter[str] = Counter()
versions: Counter[str] = Counter()
failures: list[str] = []


async def one_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    await reader.readexactly(int(headers.get("content-length", "0")))
    return int(first.split()[1]), headers


def is_over() -> bool:
    return STOP.exists()


async def user(number: int) -> None:
    body = b'{"dataframe_split": {"columns": ["x"], "data": [[1.0]]}}'
    connection = None
    turn = 0
    while not is_over():
        turn += 1
        if connection is None:
            connection = await asyncio.open_connection("127.0.0.1", PORT)
        reader, writer = connection
        writer.write(
            f"POST {PATH} HTTP/1.1\r\nhost: gateway\r\nx-user-id: u{number}-{turn % 50}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )
        try:
            status, headers = await asyncio.wait_for(one_answer(reader), timeout=30)
        except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
            status, headers = 0, {"error": repr(error)}
        answers[str(status)] += 1
        versions[headers.get("x-model-version", "")] += 1
        if status != 200:
            failures.append(f"u{number} turn {turn}: {status} {headers}")
        if status == 0 or headers.get("connection") == "close":
            writer.close()
            connection = None
        await asyncio.sleep(0.02)
    if connection is not None:
        connection[1].close()


async def main() -> None:
    results = await asyncio.gather(*(user(number) for number in range(CONNECTIONS)), return_exceptions=True)
    failures.extend(repr(result) for result in results if result is not None)
    sys.stdout.write(
        json.dumps({"answers": answers, "versions": versions, "failures": failures[:20], "failed": len(failures)})
    )


asyncio.run(main())
