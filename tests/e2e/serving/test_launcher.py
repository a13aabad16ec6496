"""A launcher's process under real sockets: load, drain, poison, hang, and models that do not load."""

import asyncio
import json
import os
import random
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.spec.sockets import abstract

pytestmark = pytest.mark.e2e

Launch = Any


def rows(*values: float, seconds: float = 0.0) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a", "b"], "data": [[value, seconds] for value in values]}}


def test_answers_are_never_mixed_among_64_ragged_clients(launch: Launch, moody: Path) -> None:
    server = launch(moody, log="off").wait_ready()
    dice = random.Random(3)  # noqa: S311  ragged sizes, always the same

    async def client(name: int, asking: httpx.AsyncClient) -> int:
        for turn in range(25):
            mine = [float(name * 10_000 + turn * 20 + row) for row in range(dice.randint(1, 17))]
            answer = await asking.post("/endpoints/any/invocations", json=rows(*mine))
            assert answer.status_code == 200, answer.text
            assert answer.json()["predictions"] == mine
        return 25

    async def whole() -> int:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as asking:
            return sum(await asyncio.gather(*(client(name, asking) for name in range(64))))

    assert asyncio.run(whole()) == 1600
    metrics = httpx.get(server.url + "/metrics").text
    calls = next(line for line in metrics.splitlines() if line.startswith("model_batch_rows_count"))
    assert int(calls.split()[1]) < 1600, "nothing was ever joined"
    assert server.terminate() == 0


def test_it_answers_at_the_socket_beside_its_port_too(launch: Launch, moody: Path, tmp_path: Path) -> None:
    name = f"modelserve-test-{tmp_path.name}-{os.getpid()}"
    server = launch(moody, log="off", socket=name).wait_ready()
    assert f"unix:@{name}" in server.stderr
    with httpx.Client(transport=httpx.HTTPTransport(uds=abstract(name)), base_url="http://beside") as beside:
        assert beside.get("/readyz").status_code == 200
        assert beside.post("/invocations", json=rows(1.0, 2.0)).json()["predictions"] == [1.0, 2.0]
    assert httpx.post(server.url + "/invocations", json=rows(3.0)).json()["predictions"] == [3.0]
    second = launch(moody, log="off", socket=name)
    assert second.process.wait(60) == 3
    assert "cannot listen" in second.stderr
    assert server.terminate() == 0


def test_poison_costs_only_its_sender(launch: Launch, moody: Path) -> None:
    server = launch(moody).wait_ready()

    async def whole() -> list[int]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as asking:
            values = [-1.0 if n % 10 == 3 else float(n) for n in range(40)]
            answers = await asyncio.gather(*(asking.post("/invocations", json=rows(v, seconds=0.02)) for v in values))
            return [answer.status_code for answer in answers]

    assert asyncio.run(whole()) == [400 if n % 10 == 3 else 200 for n in range(40)]


def test_sigterm_finishes_what_is_in_flight_flushes_the_log_and_exits_0(
    launch: Launch, moody: Path, tmp_path: Path
) -> None:
    events = tmp_path / "events"
    server = launch(
        moody, events_dir=events, deployment="moody-v1", endpoint="moody", stage="production", log_flush_s=60
    ).wait_ready()

    async def whole() -> list[int]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as asking:
            slow = [asyncio.create_task(asking.post("/invocations", json=rows(n, seconds=1.0))) for n in range(3)]
            label = {"request_id": "r-1", "label": 1}
            assert (await asking.post("/feedback", json=label)).status_code == 202
            await asyncio.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            return [(await answer).status_code for answer in slow]

    assert asyncio.run(whole()) == [200, 200, 200]
    assert server.process.wait(30) == 0, server.stderr
    (predictions,) = (events / "predictions").rglob("*.parquet")
    (labels,) = (events / "labels").rglob("*.parquet")
    assert sorted(pq.read_table(predictions)["prediction"].to_pylist()) == [0.0, 1.0, 2.0]
    assert pq.read_table(labels)["label"].to_pylist() == [1.0]


def test_a_model_that_hangs_is_answered_504_and_its_process_ends_to_be_replaced(launch: Launch, moody: Path) -> None:
    server = launch(moody, timeout_s=1).wait_ready()
    assert httpx.post(server.url + "/invocations", json=rows(-2), timeout=30).status_code in {503, 504}
    assert server.process.wait(30) == 70
    assert "has not returned" in server.stderr


def test_a_model_that_does_not_load_is_one_line_and_exit_2(launch: Launch, moody: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "modelserve.json").write_text((moody / "modelserve.json").read_text())
    (broken / "model").mkdir()
    mlmodel = "flavors:\n  python_function:\n    loader_module: nothing.of.the.kind\n"
    (broken / "model" / "MLmodel").write_text(mlmodel)
    server = launch(broken)
    assert server.process.wait(60) == 2
    assert "Traceback" not in server.stderr
    *_, line = server.stderr.splitlines()  # MLflow may have warned before
    assert "ModuleNotFoundError" in line
    assert "models:/moody/1" in line


def test_a_taken_port_is_one_line_before_any_model_is_loaded(launch: Launch, moody: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = launch(moody, port=taken.getsockname()[1])
        assert server.process.wait(60) == 3
    (line,) = server.stderr.splitlines()
    assert "cannot listen" in line


def test_it_starts_and_answers_with_no_registry_and_no_home(launch: Launch, moody: Path) -> None:
    server = launch(moody).wait_ready()
    answer = httpx.post(
        server.url + "/invocations", content=json.dumps(rows(4.5)), headers={"content-type": "application/json"}
    )
    assert answer.json() == {"predictions": [4.5]}
    assert "tracking" not in server.stderr.lower()


NOT_HTTP = [b"\r\n\r\n", b"\x16\x03\x01\x02\x00", b"POST /invocations HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"GET /"]


def test_what_is_no_http_does_not_hurt_the_next_client(launch: Launch, moody: Path) -> None:
    server = launch(moody).wait_ready()
    host, port = server.url.removeprefix("http://").split(":")
    for sent in NOT_HTTP:
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(sent)
        assert httpx.post(server.url + "/invocations", json=rows(1)).status_code == 200
