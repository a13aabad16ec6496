"""MLflow's own command line, in process, over a plugin of memory alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest
from mlflow.deployments.cli import commands

Run = Callable[..., click.testing.Result]


@pytest.fixture
def run(plugin: Callable[[], Any]) -> Run:
    def invoke(command: str, *arguments: str) -> click.testing.Result:
        plugin()
        return click.testing.CliRunner().invoke(commands, [command, "-t", "modelserve", *arguments])

    return invoke


@pytest.fixture
def served(run: Run) -> Run:
    assert run("create", "--name", "churn", "-m", "models:/churn/1").exit_code == 0
    joined = run("create", "--name", "churn-v4", "-m", "models:/churn/4", "--endpoint", "churn", "-C", "weight=10")
    assert joined.exit_code == 0
    return run


def test_create_prints_mlflow_s_sentence(run: Run) -> None:
    result = run("create", "--name", "churn", "-m", "models:/churn/1", "-f", "python_function")
    assert (result.exit_code, result.stdout) == (0, "\npython_function deployment churn is created\n")


def test_update_prints_mlflow_s_sentence(served: Run) -> None:
    result = served("update", "--name", "churn", "-m", "models:/churn/2")
    assert result.stdout == "Deployment churn is updated (with flavor python_function)\n"


def test_get_prints_lines(served: Run) -> None:
    lines = served("get", "--name", "churn-v4").stdout.splitlines()
    assert {"name: churn-v4", "weight: 10", "endpoint: churn", "model_uri: models:/churn/4"} <= set(lines)


def test_list_prints_every_deployment(served: Run) -> None:
    assert "'name': 'churn-v4'" in served("list").stdout
    assert "'name': 'churn-v4'" in served("list", "--endpoint", "churn").stdout


def test_the_endpoint_commands_work(served: Run) -> None:
    assert "'traffic': 'churn=90,churn-v4=10'" in served("list-endpoints").stdout
    updated = served("update-endpoint", "--endpoint", "churn", "-C", "traffic=churn=75,churn-v4=25")
    assert (updated.exit_code, updated.stdout) == (0, "\nEndpoint churn is updated\n")
    assert "traffic: churn=75,churn-v4=25" in served("get-endpoint", "--endpoint", "churn").stdout
    assert served("delete-endpoint", "--endpoint", "churn").stdout == "\nEndpoint churn is deleted\n"


def test_delete_takes_keys_and_is_idempotent(served: Run) -> None:
    for _ in range(2):
        result = served("delete", "--name", "nobody", "-C", "wait_s=5")
        assert (result.exit_code, result.stdout) == (0, "Deployment nobody is deleted\n")


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        (("create", "--name", "churn", "-m", "models:/churn/1"), "update"),
        (("create", "--name", "Churn v2", "-m", "models:/churn/1"), "'churn-v2'"),
        (("create", "--name", "new", "-m", "nowhere"), "no model at"),
        (("create", "--name", "new", "-m", "models:/churn/1", "-C", "gpus=1"), "'gpu'"),
        (("create", "--name", "new", "-m", "models:/churn/1", "-f", "onnx"), "python_function"),
        (("update", "--name", "nobody", "-m", "models:/churn/1"), "known: churn"),
        (("delete", "--name", "churn-v4"), "update-endpoint"),
        (("delete", "--name", "churn", "-C", "force=1"), "wait_s"),
        (("get", "--name", "nobody"), "known: churn"),
        (("get-endpoint", "--endpoint", "nobody"), "known: churn"),
        (("update-endpoint", "--endpoint", "churn", "-C", "traffic=churn=50"), "sum to"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_refusal_is_one_line_with_the_way_out(served: Run, words: tuple[str, ...], way_out: str) -> None:
    result = served(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert way_out in result.stderr


@pytest.mark.parametrize(
    ("document", "body"),
    [
        ({"inputs": [[1, 2]]}, {"inputs": [[1, 2]]}),
        (
            {"dataframe_split": {"columns": ["zip"], "data": [["007"]]}},
            {"dataframe_split": {"columns": ["zip"], "data": [["007"]]}},
        ),
        ([{"zip": "007"}], {"dataframe_split": {"columns": ["zip"], "data": [["007"]]}}),
        ({"columns": ["a"], "data": [[1]]}, {"dataframe_split": {"columns": ["a"], "data": [[1]]}}),
    ],
    ids=["inputs", "split", "records", "bare split"],
)
def test_predict_sends_what_the_file_says(
    served: Run, plugin: Callable[[], Any], tmp_path: Path, document: object, body: object
) -> None:
    (tmp_path / "in.json").write_text(json.dumps(document))
    result = served("predict", "--endpoint", "churn", "-I", str(tmp_path / "in.json"))
    assert json.loads(result.stdout) == {"predictions": [1]}
    assert plugin().scorer.sent[-1][2] == body


def test_predictions_are_strict_json_in_a_file_too(served: Run, plugin: Callable[[], Any], tmp_path: Path) -> None:
    plugin().scorer.answer = {"predictions": [None, "é"]}
    (tmp_path / "in.json").write_text('{"inputs": [1]}')
    served("predict", "--name", "churn", "-I", str(tmp_path / "in.json"), "-O", str(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text()) == {"predictions": [None, "é"]}


def test_explain_prints_what_the_server_says(served: Run, plugin: Callable[[], Any], tmp_path: Path) -> None:
    plugin().scorer.answer = {"values": [[0.5]]}
    (tmp_path / "in.json").write_text('[{"a": 1}]')
    assert json.loads(served("explain", "--name", "churn", "-I", str(tmp_path / "in.json")).stdout) == {
        "values": [[0.5]]
    }


def test_help_is_printed(run: Run) -> None:
    assert "TARGET URIS" in run("help").stdout
