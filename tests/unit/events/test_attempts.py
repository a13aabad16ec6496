"""The gateway's raw log becomes table ``attempts``: once, whole, whatever dies in between."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from mlflow_deploy_plugin.agent import attempts as attempts_module
from mlflow_deploy_plugin.agent.access_log import END, ENDING_PARTS, FIELD, LINE_FIELDS, PART, Ending, endings, outcome
from mlflow_deploy_plugin.agent.attempts import AttemptLog, Conversion
from mlflow_deploy_plugin.errors import EventStoreError
from mlflow_deploy_plugin.spec.events import ATTEMPT_COLUMNS

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()


def raw_line(**changes: Any) -> bytes:
    """As Envoy writes one; ``None`` is what it writes of a value that is not set."""
    values: dict[str, Any] = {
        "request_id": "r1",
        "start": f"{NOON:.6f}",
        "user_id": "u1",
        "assigned": "churn-v4",
        "attempt": "1",
        "status": 200,
        "duration_ms": 3,
        "whole_us": 2500,
        "endpoint": "churn",
        "commit": "abc",
        "override": "",
        "deployment": "churn-v4",
    } | changes
    values["route"] = "/".join(values[name] for name in ("endpoint", "commit", "override"))
    text = {name: "-" if values.get(name) is None else str(values[name]) for name in (*LINE_FIELDS, *ENDING_PARTS)}
    return FIELD.join((*map(text.get, LINE_FIELDS), PART.join((*map(text.get, ENDING_PARTS), END)))).encode() + b"\n"


def ending_of(**changes: Any) -> Ending:
    (ending,) = endings_of(**changes)
    return ending


def endings_of(**changes: Any) -> tuple[Ending, ...]:
    return endings(raw_line(**changes).decode().rstrip("\n").rpartition(FIELD)[2])


class Gateway:
    """Stands in for Envoy: opens the active file when asked to."""

    def __init__(self, log: AttemptLog) -> None:
        self.log = log
        log.prepare()
        log.path.touch()

    def write(self, *lines: bytes) -> None:
        with self.log.path.open("ab") as file:
            file.write(b"".join(lines))

    def reopen(self) -> None:
        self.log.path.touch()


@pytest.fixture
def log(tmp_path: Path) -> AttemptLog:
    return AttemptLog(raw_dir=tmp_path / "raw", events_dir=tmp_path / "events", stage="production")


@pytest.fixture
def gateway(log: AttemptLog) -> Gateway:
    return Gateway(log)


def visible(log: AttemptLog) -> list[Path]:
    return sorted(path for path in log.events_dir.rglob("*.parquet") if not path.name.startswith("."))


def rows(log: AttemptLog) -> list[dict[str, Any]]:
    return [row for path in visible(log) for row in pq.ParquetFile(path).read().to_pylist()]


def test_a_line_becomes_a_row_of_the_partition_of_who_was_tried(log: AttemptLog, gateway: Gateway) -> None:
    gateway.write(raw_line())
    assert log.rotate_and_convert(gateway.reopen) == Conversion(attempts=1, files=1)
    (path,) = visible(log)
    assert path.parent.relative_to(log.events_dir) == Path(
        "attempts/stage=production/endpoint=churn/date=2026-03-04/deployment=churn-v4"
    )
    assert rows(log) == [
        {
            "request_id": "r1", "time": datetime(2026, 3, 4, 12, tzinfo=UTC), "user_id": "u1", "assigned": "churn-v4",
            "override": "", "attempt": 1, "status": 200, "flags": "", "latency_ms": 2.5, "commit": "abc",
        }
    ]  # fmt: skip


def test_the_columns_are_those_of_the_contract(log: AttemptLog, gateway: Gateway) -> None:
    gateway.write(raw_line())
    log.rotate_and_convert(gateway.reopen)
    schema = pq.read_schema(visible(log)[0])
    assert {name: str(schema.field(name).type).replace("tz=", "") for name in schema.names} == dict(ATTEMPT_COLUMNS)


def test_partitions_open_as_one_hive_dataset(log: AttemptLog, gateway: Gateway) -> None:
    gateway.write(raw_line(), raw_line(deployment="churn", assigned="churn", request_id="r2"))
    log.rotate_and_convert(gateway.reopen)
    table = ds.dataset(log.events_dir / "attempts", partitioning="hive").to_table()
    assert sorted(table.column("deployment").to_pylist()) == ["churn", "churn-v4"]


def test_an_idle_gateway_leaves_no_files(log: AttemptLog, gateway: Gateway) -> None:
    assert log.rotate_and_convert(gateway.reopen) == Conversion()
    assert visible(log) == []


def test_a_torn_line_is_dropped_and_counted(log: AttemptLog, gateway: Gateway) -> None:
    gateway.write(raw_line(), raw_line()[:40])
    assert log.rotate_and_convert(gateway.reopen) == Conversion(attempts=1, files=1, dropped=1)


@pytest.mark.parametrize(
    "change",
    [
        {"attempt": "99999999999"},
        {"status": -1},
        {"status": "x"},
        {"start": "nan"},
        {"start": "99999999999.000000"},
        {"whole_us": "1.5"},
        {"duration_ms": "9" * 30},
        {"commit": "a/b"},
        {"user_id": f"a{FIELD}b"},
        {"failed": f"1{PART}2"},
    ],
)
def test_a_value_that_fits_no_column_costs_its_line_alone(
    log: AttemptLog, gateway: Gateway, change: dict[str, Any]
) -> None:
    gateway.write(raw_line(), raw_line(**change))
    assert log.rotate_and_convert(gateway.reopen) == Conversion(attempts=1, files=1, dropped=1)


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", "-"])
def test_a_name_that_is_no_label_never_reaches_a_path(log: AttemptLog, gateway: Gateway, name: str) -> None:
    gateway.write(raw_line(endpoint=name))
    assert log.rotate_and_convert(gateway.reopen) == Conversion(dropped=1)
    assert not log.events_dir.exists()


def test_a_file_that_envoy_still_holds_waits(log: AttemptLog, gateway: Gateway, monkeypatch: Any) -> None:
    monkeypatch.setattr(attempts_module, "REOPEN_TIMEOUT_S", 0.0)
    gateway.write(raw_line())
    assert log.rotate_and_convert(lambda: None) == Conversion(pending=1)
    assert log.rotate_and_convert(gateway.reopen) == Conversion(attempts=1, files=1)


def test_an_envoy_that_is_away_delays_and_loses_nothing(log: AttemptLog, gateway: Gateway) -> None:
    def refuse() -> None:
        raise ConnectionRefusedError("no admin")

    gateway.write(raw_line())
    with pytest.raises(EventStoreError, match="kept and tried again"):
        log.rotate_and_convert(refuse)
    assert log.rotate_and_convert(gateway.reopen).attempts == 1


class CrashError(BaseException):
    """The process ends here."""


def crash_on_call(function: Callable[..., Any], *, number: int) -> Callable[..., Any]:
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise CrashError
        return function(*args, **kwargs)

    return counted


@pytest.mark.parametrize("step", ["write_hidden", "publish"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_crash_anywhere_neither_loses_nor_doubles(
    log: AttemptLog, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    gateway.write(*(raw_line(request_id=f"r{n}", deployment=f"d{n}", assigned=f"d{n}") for n in range(3)))
    with monkeypatch.context() as patch:
        patch.setattr(attempts_module, step, crash_on_call(getattr(attempts_module, step), number=number))
        with pytest.raises(CrashError):
            log.rotate_and_convert(gateway.reopen)
    log.rotate_and_convert(gateway.reopen)
    assert sorted(row["request_id"] for row in rows(log)) == ["r0", "r1", "r2"]
    assert sorted(path.name for path in log.raw_dir.iterdir()) == ["attempts.log"]


def test_parts_that_were_merged_before_a_restart_do_not_come_back(
    log: AttemptLog, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.write(raw_line(deployment="a", assigned="a"), raw_line(deployment="b", assigned="b"))
    with monkeypatch.context() as patch:
        patch.setattr(attempts_module, "publish", crash_on_call(attempts_module.publish, number=2))
        with pytest.raises(CrashError):
            log.rotate_and_convert(gateway.reopen)
    (merged,) = visible(log)
    merged.unlink()
    log.rotate_and_convert(gateway.reopen)
    assert len(visible(log)) == 1


def test_a_long_file_is_converted_in_parts(log: AttemptLog, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts_module, "LINES_OF_A_PART", 10)
    gateway.write(*(raw_line(request_id=f"r{n}") for n in range(25)))
    assert log.rotate_and_convert(gateway.reopen) == Conversion(attempts=25, files=3)


def test_a_file_of_torn_lines_alone_leaves_nothing(log: AttemptLog, gateway: Gateway) -> None:
    gateway.write(*(line + b"\n" for line in (raw_line()[:20], b"{}", raw_line()[:-2], raw_line()[:-4])))
    assert log.rotate_and_convert(gateway.reopen) == Conversion(dropped=4)


def test_what_a_client_calls_itself_stays_one_value(log: AttemptLog, gateway: Gateway) -> None:
    users = ['tab\tand "quotes"', "a,b", "\\", "ünï", "null", "NA", "", "-", "r1"]
    gateway.write(*(raw_line(user_id=user) for user in users), raw_line().replace(b"u1", b"\xff"))
    assert log.rotate_and_convert(gateway.reopen) == Conversion(attempts=10, files=1)
    assert [row["user_id"] for row in rows(log)] == [*users[:6], "", "", "", "\ufffd"]


def test_midnight_parts_a_file(log: AttemptLog, gateway: Gateway) -> None:
    gateway.write(*(raw_line(request_id=f"r{n}", start=f"{NOON + n * 7200:.6f}") for n in range(12)))
    assert log.rotate_and_convert(gateway.reopen) == Conversion(attempts=12, files=2)
    days = {path.parent.parent.name: pq.ParquetFile(path).metadata.num_rows for path in visible(log)}
    assert days == {"date=2026-03-04": 6, "date=2026-03-05": 6}


def test_each_row_keeps_its_own_values_however_many_share_a_file(log: AttemptLog, gateway: Gateway) -> None:
    deployments = ["churn", "churn-v4", "churn"]
    gateway.write(
        *(
            raw_line(
                request_id=f"r{n}", user_id=f"u{n}", whole_us=n, start=f"{NOON + n / 1000:.6f}", status=200 + n % 4,
                deployment=deployments[n % 3], assigned=deployments[n % 3], commit=f"c{n % 5}",
            )
            for n in range(60)
        )
    )  # fmt: skip
    done = log.rotate_and_convert(gateway.reopen)
    assert done == Conversion(attempts=60, files=2)
    assert done.outcomes == {("churn", "churn", "success"): 40, ("churn", "churn-v4", "success"): 20}
    for path in visible(log):
        found = pq.ParquetFile(path).read().to_pylist()
        numbers = [int(row["request_id"][1:]) for row in found]
        assert numbers == sorted(numbers)
        for n, row in zip(numbers, found, strict=True):
            assert path.parent.name == f"deployment={deployments[n % 3]}"
            assert (row["user_id"], row["status"], row["commit"]) == (f"u{n}", 200 + n % 4, f"c{n % 5}")
            assert (row["latency_ms"], row["time"].microsecond) == (n / 1000, n * 1000)


def test_a_canary_without_a_healthy_host_is_told_as_an_attempt_that_never_was() -> None:
    missed, answered = endings_of(assigned="churn-v4", deployment="churn")
    assert (missed.deployment, missed.attempt, missed.status, missed.flags) == ("churn-v4", 0, 0, "UH")
    assert (answered.deployment, answered.attempt, answered.status) == ("churn", 1, 200)


def test_an_attempt_that_never_was_took_no_time(log: AttemptLog, gateway: Gateway) -> None:
    gateway.write(raw_line(assigned="churn-v4", deployment="churn"))
    assert log.rotate_and_convert(gateway.reopen) == Conversion(attempts=2, files=2)
    assert sorted((row["attempt"], row["latency_ms"]) for row in rows(log)) == [(0, 0.0), (1, 2.5)]


def test_a_retry_elsewhere_is_one_attempt() -> None:
    ending = ending_of(attempt="2", deployment="churn")
    assert (ending.deployment, ending.attempt) == ("churn", 2)


def test_an_override_was_assigned_by_nobody() -> None:
    ending = ending_of(override="churn-v4", assigned="forged")
    assert (ending.override, ending.assigned) == ("churn-v4", "")


def test_a_client_that_went_away_is_flagged_as_such(log: AttemptLog, gateway: Gateway) -> None:
    gateway.write(raw_line(status=0, whole_us=None))
    log.rotate_and_convert(gateway.reopen)
    (row,) = rows(log)
    assert (row["status"], row["flags"], row["latency_ms"]) == (0, "DC", 3.0)


def test_no_host_at_all_is_no_answer_of_the_deployment() -> None:
    ending = ending_of(status=503, flags="UH", deployment=None)
    assert (ending.deployment, ending.status, ending.flags) == ("churn-v4", 0, "UH")


def test_a_model_that_failed_under_a_clients_status_is_flagged_and_counts_as_failed() -> None:
    ending = ending_of(status=400, failed="1")
    assert (ending.status, ending.flags, outcome(ending)) == (400, "MF", "failed")
    clients = ending_of(status=400)
    assert (clients.flags, outcome(clients)) == ("", "success")


@pytest.mark.parametrize(("grpc", "status"), [(0, 200), (14, 503), ("13", 500), (99, 500)])
def test_grpc_errors_speak_http(grpc: Any, status: int) -> None:
    assert ending_of(grpc_status=grpc).status == status
