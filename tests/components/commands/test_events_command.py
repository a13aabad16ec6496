import json
import os
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mlflow_deploy_plugin.config.home import Home
from pipelines.commands import event_scale

World = Any


@pytest.fixture
def url() -> str:
    return f"memory://{uuid4().hex}"


def test_closed_files_are_moved_and_the_drift_job_reads_them_there(world: World, url: str) -> None:
    world.join(weight=400)
    world.traffic(world.people(900, age=55.0))
    for path in Home(root=world.home).events.rglob("*.parquet"):
        os.utime(path, (0, 0))
    assert world.run("events", "sync", url) == 0
    assert world.text.startswith("moved ")
    assert world.run("events", "sync", url) == 0
    assert world.text == "unchanged"
    assert world.drift("--events", url) == 0
    assert "verdict: the world moved" in world.text


def test_labels_are_added_where_the_store_is(world: World, url: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("request_id,label\na,1\n")
    assert world.run("label", str(path), "--endpoint", "churn", "--events", url) == 0
    assert world.text == "added 1 labels; 1 belong to no logged prediction"
    assert world.run("label", str(path), "--endpoint", "churn", "--events", url) == 0
    assert "unchanged" in world.text


def test_a_place_that_is_no_url_is_refused(world: World) -> None:
    assert world.run("events", "sync", "bucket") == 2
    assert "'bucket' is no URL" in world.warned[0]


@pytest.mark.parametrize(
    "command",
    [
        ["accuracy", "--endpoint", "churn"],
        ["label", "labels.csv", "--endpoint", "churn"],
        ["events", "sync", "memory://x"],
    ],
    ids=["accuracy", "label", "sync"],
)
def test_a_store_that_is_not_there_is_told(world: World, tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "labels.csv").write_text("request_id,label\na,1\n")
    command = [str(tmp_path / part) if part.endswith(".csv") else part for part in command]
    mistyped = tmp_path / "evnets"
    assert world.run(*command, "--events", str(mistyped)) == 2
    assert f"--events '{mistyped}' is no folder of this machine" in world.warned[0]
    assert not mistyped.exists()


def test_events_of_a_url_are_not_moved(world: World, url: str) -> None:
    assert world.run("events", "sync", url, "--events", "s3://bucket/events") == 2
    assert "--events names 's3://bucket/events'; name its folder" in world.warned[0]


def test_young_files_wait_and_json_says_so(world: World, url: str) -> None:
    world.traffic(world.people(10))
    files = list(Home(root=world.home).events.rglob("*.parquet"))
    for path in files:
        os.utime(path, (world.now.timestamp(), world.now.timestamp()))
    assert world.run("events", "sync", url, "--json") == 0
    assert json.loads(world.text)["waiting"] == len(files)


def test_a_tick_over_a_generated_store_stays_within_its_memory(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    assert world.run("events", "scale", "--rows", "20000", "--folder", str(folder)) == 0
    assert "Healthy" in world.text  # its training sample is like its traffic
    peak = int(re.search(r"greatest (\d+) MB, within the 1024 MB", world.text)[1])
    assert 0 < peak <= event_scale.LIMIT_MB
    assert not list(folder.iterdir())


def test_rows_that_are_no_number_are_refused(world: World) -> None:
    assert world.run("events", "scale", "--rows", "0.5") == 2
    assert "is not a whole number" in world.warned[0]
