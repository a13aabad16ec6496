"""Load over gRPC by NVIDIA's client from a process of its own: calls that never stop, and a count of every status.

``grpc_load.py PORT CALLERS STOP_FILE``; prints one JSON line when STOP_FILE appears.
"""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from tritonclient.grpc.aio import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

PORT, CALLERS, STOP = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
answers: Counter[str] = Counter()
values: Counter[str] = Counter()
failures: list[str] = []


def is_over() -> bool:
    return STOP.exists()


async def caller(client: InferenceServerClient, number: int) -> None:
    one = InferInput("x", [1], "FP64")
    one.set_data_from_numpy(np.array([1.0]))
    turn = 0
    while not is_over():
        turn += 1
        metadata = {"x-endpoint": "churn", "x-user-id": f"u{number}-{turn % 50}"}
        try:
            found = await client.infer("churn", [one], headers=metadata, client_timeout=30)
        except InferenceServerException as error:
            answers[str(error.status())] += 1
            failures.append(f"{error.status()}: {error.message()}")
        else:
            answers["OK"] += 1
            values[str(found.as_numpy("output-0").tolist()[0])] += 1
        await asyncio.sleep(0.02)


async def main() -> None:
    async with InferenceServerClient(f"127.0.0.1:{PORT}") as client:
        await asyncio.gather(*(caller(client, number) for number in range(CALLERS)))
    sys.stdout.write(json.dumps({"answers": answers, "values": values, "failures": failures[:10]}))


asyncio.run(main())
