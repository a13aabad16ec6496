"""The version before at an address: a gateway is asked for it by name, another server in its own manner."""

from typing import Any

import pandas as pd
import pytest

from mlflow_deploy_plugin.errors import ScoringError
from mlflow_deploy_plugin.manifests.model import Deployment, ModelIdentity
from mlflow_deploy_plugin.scoring import Address
from pipelines.commands.version_elsewhere import ROWS_OF_A_REQUEST, score

IDENTITY = ModelIdentity(bento="churn:1", uri="models:/churn/1", digest="sha256:" + "0" * 64, name="churn")
BEFORE = Deployment(
    name="churn-v1",
    endpoint="churn",
    stage="production",
    model=IDENTITY,
    image=f"modelserve.invalid/churn@{IDENTITY.digest}",
)
ROWS = pd.DataFrame({"age": [1.5, 2.5], "visits": [1, 2], "plan": ["a", "b"]})


class Server:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Any, dict[str, Any]]] = []

    def invoke(self, address: Address, body: dict[str, Any]) -> Any:
        return self.ask(address, body)

    def ask(self, url: Any, body: dict[str, Any]) -> Any:
        self.asked.append((url, body))
        return self.answers.pop(0)


def test_a_gateway_is_asked_for_the_deployment_by_name() -> None:
    server = Server({"predictions": [0, 1]})
    assert score("http://gate:8080/", BEFORE, ROWS, scorer=server) == [0, 1]
    ((address, body),) = server.asked
    assert address == Address(gateway="http://gate:8080", endpoint="churn", deployment="churn-v1")
    assert body["dataframe_split"]["columns"] == ["age", "visits", "plan"]


@pytest.mark.parametrize("answer", [{"predictions": ["yes", "no"]}, ["yes", "no"]])
def test_a_server_of_mlflows_is_asked_at_its_own_address(answer: Any) -> None:
    server = Server(answer)
    assert score("http://old:5000/invocations", BEFORE, ROWS, scorer=server) == ["yes", "no"]
    assert server.asked[0][0] == "http://old:5000/invocations"


def test_an_open_inference_server_gets_a_tensor_for_each_column() -> None:
    server = Server({"outputs": [{"name": "predict", "data": [0.5, 0.25]}]})
    assert score("http://old/v2/models/churn/infer", BEFORE, ROWS, scorer=server) == [0.5, 0.25]
    tensors = server.asked[0][1]["inputs"]
    assert [(each["name"], each["datatype"], each["shape"]) for each in tensors] == [
        ("age", "FP64", [2]), ("visits", "INT64", [2]), ("plan", "BYTES", [2]),
    ]  # fmt: skip


def test_many_rows_are_asked_in_parts() -> None:
    rows = pd.DataFrame({"x": range(ROWS_OF_A_REQUEST + 1)})
    server = Server({"predictions": list(range(ROWS_OF_A_REQUEST))}, {"predictions": [7]})
    assert len(score("http://gate:8080", BEFORE, rows, scorer=server)) == ROWS_OF_A_REQUEST + 1


@pytest.mark.parametrize(
    ("url", "answer", "words"),
    [
        ("http://old/invocations", {"predictions": [1]}, "gave 1 answers to 2 rows"),
        ("http://old/invocations", {"outputs": []}, "without a list of predictions"),
        ("http://old/v2/models/churn/infer", {"predictions": [1, 2]}, "without outputs"),
    ],
)
def test_what_is_no_answer_to_every_row_is_said(url: str, answer: Any, words: str) -> None:
    with pytest.raises(ScoringError, match=words):
        score(url, BEFORE, ROWS, scorer=Server(answer))
