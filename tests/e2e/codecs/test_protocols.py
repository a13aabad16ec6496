"""Every protocol on one running Bento: one model, one answer, one log."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipelines.monitoring.event_summaries import Window
from pipelines.monitoring.events import EventStore

pytestmark = pytest.mark.e2e

YOUNG, OLD = [25.0, 1.0], [65.0, 6.0]


def test_protocols_agree(table_server: Any) -> None:
    columns = {"age": [25.0, 65.0], "income": [1.0, 6.0]}
    tensors = [{"name": n, "shape": [2], "datatype": "FP64", "data": values} for n, values in columns.items()]
    answers = {
        "mlflow": table_server.post(
            "/invocations", {"dataframe_split": {"columns": list(columns), "data": [YOUNG, OLD]}}
        ),
        "rest": table_server.post("/endpoints/churn/predict_batch", {"features": [YOUNG, OLD]}),
        "oip": table_server.post("/v2/models/churn/infer", {"inputs": tensors}),
        "rows": table_server.post("/v1/models/churn:predict", {"instances": [YOUNG, OLD]}),
        "columns": table_server.post("/v1/models/churn:predict", {"inputs": columns}),
        "torchserve": table_server.post("/predictions/churn", [YOUNG, OLD]),
    }
    assert {name: status for name, (status, _) in answers.items()} == dict.fromkeys(answers, 200)
    assert answers["mlflow"][1]["predictions"] == [0, 1]
    assert answers["rest"][1]["predictions"] == [0, 1]
    assert answers["oip"][1]["outputs"][0]["data"] == [0, 1]
    assert answers["rows"][1] == {"predictions": [0, 1]}
    assert answers["columns"][1] == {"outputs": [0, 1]}
    assert answers["torchserve"][1] == [0, 1]


def test_classification_and_metadata_come_from_the_model(table_server: Any) -> None:
    _, answer = table_server.post("/v1/models/churn:classify", {"examples": [{"age": 65.0, "income": 6.0}]})
    ((first, second),) = answer["results"]
    assert (first[0], second[0], second[1] > 0.5) == ("0", "1", True)
    assert table_server.get("/v1/models/churn")[1]["model_version_status"][0]["state"] == "AVAILABLE"
    assert table_server.get("/models/churn")[1][0]["workers"][0]["status"] == "READY"


def test_every_protocol_is_logged_by_its_name(table_server: Any) -> None:
    test_protocols_agree(table_server)
    now = datetime.now(UTC)
    window = Window(
        stage="production",
        endpoint="churn",
        begin=now - timedelta(hours=1),
        end=now + timedelta(hours=1),
        population="all",
    )
    deadline = time.monotonic() + 10
    wanted = {"mlflow", "rest", "oip", "tensorflow", "torchserve"}
    logged: set[str] = set()
    while not wanted <= logged and time.monotonic() < deadline:
        time.sleep(0.2)
        with EventStore(table_server.events) as store:
            scan = store.scanner.scan("predictions", window.span)
            query = f"SELECT DISTINCT protocol FROM {scan.source}"  # noqa: S608  the scan is ours
            logged = {row["protocol"] for row in store.scanner.rows(query)}
            features = store.features(window).frame
    assert wanted <= logged
    assert set(features["age"]) == {25.0, 65.0}
