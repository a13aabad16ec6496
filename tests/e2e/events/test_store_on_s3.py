"""The event store on an S3 server: moved by the shipper, read by DuckDB through s3fs."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer

from mlflow_deploy_plugin.agent.parquet import arrow_schema
from mlflow_deploy_plugin.agent.shipping import ShippingPolicy, ship
from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import ATTEMPT_COLUMNS, partition
from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.events import EventStore

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "tester",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="events")
    yield "s3://events/store"
    server.stop()


def attempts(root: Path, *users: str) -> None:
    folder = root / partition("attempts", stage="production", endpoint="churn", day=NOON, deployment="v3")
    folder.mkdir(parents=True)
    rows = [
        {"request_id": user, "time": NOON, "user_id": user, "assigned": "v3", "override": "", "attempt": 1,
         "status": 200, "flags": "", "latency_ms": 5.0, "commit": "c1"}
        for user in users
    ]  # fmt: skip
    path = folder / "000001.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=arrow_schema(ATTEMPT_COLUMNS)), path)
    os.utime(path, (0, 0))


def test_a_store_is_moved_to_s3_and_read_there(bucket: str, tmp_path: Path) -> None:
    attempts(tmp_path, "ann", "bob")
    assert ship(tmp_path, ShippingPolicy(url=bucket)).files == 1
    assert not list(tmp_path.rglob("*.parquet"))
    window = Window(stage="production", endpoint="churn", begin=NOON, end=NOON + timedelta(hours=1))
    with EventStore(bucket, memory_mb=128, threads=1) as store:
        assert store.exposure(window).arms["v3"].users == 2


def test_a_bucket_that_is_not_there_loses_nothing(bucket: str, tmp_path: Path) -> None:
    attempts(tmp_path, "ann")
    with pytest.raises(EventStoreError, match="stay here"):
        ship(tmp_path, ShippingPolicy(url=bucket.replace("events", "nowhere")))
    assert len(list(tmp_path.rglob("*.parquet"))) == 1
